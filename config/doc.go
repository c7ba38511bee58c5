// Package config reads one TOML file that describes a whole cluster, and makes a server of it from the parts that the
// file names. Every member reads the same file and is told only which member it is, so the files of two members cannot
// disagree.
//
// An unknown key is an error that names the nearest known one; two settings that clash are both named, with their
// values and lines. All errors of a file are reported together (errors.Join); each is an *[Error].
//
// The keys, their defaults and their meaning stand in one table, [Keys], from which docs/configuration.md is made and
// which setters in other languages use through [Config.Set] and [Config.Value].
package config
