package main

import (
	"os"
	"path/filepath"

	"github.com/oarlock/oarlock/config"
)

// hasStore reports whether a member's data directory holds a store that was formatted to its end (docs/format.md). Where that cannot be
// found out it says no: formatting and opening say what is wrong.
func hasStore(conf *config.Config, m config.Member) bool {
	return isThere(filepath.Join(conf.DataDir(m), "log", "identity"))
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
