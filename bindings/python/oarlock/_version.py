"""The package's version: that of the library it is built with."""

VERSION = "0.1.0"
