package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/oarlock/oarlock/raft"
)

// joinedName is a file in the data directory of a server that was made to join a group that exists.
const joinedName = "joined"

const joinedText = "This server joins a group that exists: it takes no part in a birth, whatever the configuration says.\n"

// FormatJoining is Format for a server that is to join a group that exists: as a new member, or in the place of one whose
// disk was lost, also of a founder. It waits until a leader feeds it, whether or not the file calls it a founder.
func (c *Config) FormatJoining(id raft.ServerID) error {
	m, err := c.Member(id)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.DataDir(m)), 0o700); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := c.Format(id); err != nil {
		return err
	}
	if err := os.MkdirAll(c.DataDir(m), 0o700); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return writeDurably(filepath.Join(c.DataDir(m), joinedName), joinedText)
}

// joins reports whether a member's store was made by FormatJoining.
func (c *Config) joins(m Member) (bool, error) {
	_, err := os.Stat(filepath.Join(c.DataDir(m), joinedName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("config: %w", err)
	}
	return true, nil
}

func writeDurably(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	return nil
}

// AddMember adds a member to the configuration and, where that came from a file, to the file, at its end, so that what stands there
// stays as it is. The member is no founder.
func (c *Config) AddMember(m Member) error {
	m.Founder = false
	next := c.Clone()
	next.Members = append(next.Members, m)
	if err := next.Validate(); err != nil {
		return err
	}
	if c.path != "" {
		var b strings.Builder
		next.encodeMember(&b, len(next.Members)-1)
		file, err := os.OpenFile(c.path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return fmt.Errorf("config: %w", err)
		}
		_, err = file.WriteString(b.String())
		if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
			return fmt.Errorf("config: %s: %w", c.path, err)
		}
	}
	c.Members = next.Members
	return nil
}
