//go:build unix

package main

import "syscall"

// canPause says that a process can be stopped for a while.
const canPause = true

var stopSignal, goOnSignal = syscall.SIGSTOP, syscall.SIGCONT
