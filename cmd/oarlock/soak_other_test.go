//go:build !unix

package main

import "os"

const canPause = false

var stopSignal, goOnSignal = os.Kill, os.Kill
