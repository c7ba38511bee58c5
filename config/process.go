package config

import (
	"os"
	"runtime/debug"
)

// garbagePercent is how much garbage, in percent of what is live, a member's process collects before it is cleared away. Go's
// own choice is 100; at half of that a storm takes a third less memory, and the collector's work, which is small because
// commands are few large pieces without pointers, doubles.
const garbagePercent = 50

// OwnProcess tunes the Go runtime for a process that is a member and little else, as `oarlock node` is. It changes the whole
// process, so a program that embeds a server calls it only if it likes. GOGC or GOMEMLIMIT in the environment take
// precedence: then it does nothing.
func OwnProcess() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}
