//go:build cgo

package main

import (
	"os"
	"path/filepath"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/raft"
)

// formatMember makes a member's store, of a founder or of one that joins, and the folder that its data directory is to stand in.
func formatMember(c *config.Config, id raft.ServerID, joining bool) error {
	m, err := c.Member(id)
	if err != nil {
		return missing{err}
	}
	if err := os.MkdirAll(filepath.Dir(c.DataDir(m)), 0o700); err != nil {
		return err
	}
	if joining {
		return c.FormatJoining(id)
	}
	return c.Format(id)
}
