package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/oarlock/oarlock/raft"
)

// joinedName is a file in the data directory of a server that was made to join a group that exists.
const joinedName = "joined"

const joinedText = "This server joins a group that exists: it takes no part in a birth, whatever the configuration says.\n"

// FormatJoining is Format for a server that is to join a group that exists: as a new member, or in the place of one whose
// disk was lost, also of a founder. It waits until a leader feeds it, whether or not the file calls it a founder. One that
// was interrupted can be repeated, and only FormatJoining can: Format refuses what it left.
func (c *Config) FormatJoining(id raft.ServerID) error {
	m, err := c.Member(id)
	if err != nil {
		return err
	}
	if c.Log.Kind != LogMemory {
		if there, err := c.formatted(m); err != nil {
			return err
		} else if there {
			return c.format(m) // which says so
		}
	}
	if err := os.MkdirAll(c.DataDir(m), 0o700); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	// The mark is durable before there is a store: a store of a founder without it would found a second group.
	if err := writeDurably(filepath.Join(c.DataDir(m), joinedName), joinedText); err != nil {
		return err
	}
	return c.format(m)
}

// formatted reports whether there is a store that was formatted to its end.
func (c *Config) formatted(m Member) (bool, error) {
	return exists(filepath.Join(c.logDir(m), identityName))
}

// identityName is the file without which no log is a store (docs/format.md).
const identityName = "identity"

// joins reports whether a member's store was made by FormatJoining, or is to be.
func (c *Config) joins(m Member) (bool, error) {
	return exists(filepath.Join(c.DataDir(m), joinedName))
}

// mayFound refuses the directory that a FormatJoining has begun to make. Where it came to its end there is a store, and nothing to refuse.
func (c *Config) mayFound(m Member) error {
	begun, err := c.joins(m)
	if err != nil || !begun {
		return err
	}
	if made, err := c.formatted(m); err != nil || made {
		return err
	}
	return c.wrong(memberKey(m.ID, "data"), "%s was begun to be made for a server that joins a group that exists, and not finished: "+
		"finish it with join; or, if this server is to found a new group, remove the file %s first", c.DataDir(m), joinedName)
}

func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("config: %w", err)
	}
	return true, nil
}

// writeDurably writes and syncs a file and the directory that it is in.
func writeDurably(path, text string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	_, err = file.WriteString(text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("config: %s: %w", path, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if runtime.GOOS != "windows" { // which has no such call, and logs names by itself
		err = dir.Sync()
	}
	if err = errors.Join(err, dir.Close()); err != nil {
		return fmt.Errorf("config: %s: %w", filepath.Dir(path), err)
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
