package config

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/oarlock/oarlock/raft"
)

// Generate returns the configuration of a new cluster on one machine: members servers on the loopback at ports from
// portFirst on, with their data under dir, in the folders 1, 2 and so on. It has a new random cluster id and touches no
// disk.
func Generate(members int, dir string, portFirst int) (*Config, error) {
	if members < 1 || members > 99 {
		return nil, fmt.Errorf("config: %d members: a cluster has from 1 to 99; 3 or 5 are usual", members)
	}
	if portFirst < 1 || portFirst+members-1 > 65535 {
		return nil, fmt.Errorf("config: ports %d to %d: they must be from 1 to 65535", portFirst, portFirst+members-1)
	}
	c := Default()
	if _, err := rand.Read(c.Cluster[:]); err != nil {
		return nil, fmt.Errorf("config: no random cluster id: %w", err)
	}
	for i := range members {
		c.Members = append(c.Members, Member{
			ID:      raft.ServerID(i + 1),
			Address: "127.0.0.1:" + strconv.Itoa(portFirst+i),
			Data:    filepath.Join(dir, strconv.Itoa(i+1)),
			Founder: true,
		})
	}
	return c, c.Validate()
}

// Write writes the configuration to a new file that only its owner can read, durably. A file that is there already is an error:
// a cluster id is never overwritten.
func (c *Config) Write(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("config: %s is there already; choose another name, or remove it if no server was ever started with it: %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	err = errors.Join(c.Encode(file), file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("config: %s: %w", path, errors.Join(err, os.Remove(path)))
	}
	c.path = path
	return nil
}

// Encode writes the configuration as TOML. What has its default is written as a comment, so that the file shows every
// key and still follows a default that a later version changes.
func (c *Config) Encode(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# An oarlock cluster. Every member reads the same file.\n")
	defaults := Default()
	table := ""
	for _, s := range settings {
		if s.at == nil {
			continue
		}
		name, key, _ := strings.Cut(s.name, ".")
		if name != table {
			table = name
			fmt.Fprintf(&b, "\n[%s]\n", table)
		}
		value, mark := format(s.kind, s.at(c)), ""
		if value == format(s.kind, s.at(defaults)) {
			mark = "# "
		}
		fmt.Fprintf(&b, "%s%s = %s\n", mark, key, literal(s.kind, value))
	}
	for i := range c.Members {
		c.encodeMember(&b, i)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// encodeMember writes one member.
func (c *Config) encodeMember(b *strings.Builder, i int) {
	fmt.Fprintf(b, "\n[[member]]\nid = %d\n", c.Members[i].ID)
	for _, s := range settings {
		if s.memberAt == nil {
			continue
		}
		value := format(s.kind, s.memberAt(&c.Members[i]))
		if value != format(s.kind, s.memberAt(&Member{Founder: true})) {
			fmt.Fprintf(b, "%s = %s\n", strings.TrimPrefix(s.name, "member."), literal(s.kind, value))
		}
	}
}

// literal writes a value as TOML.
func literal(kind Kind, value string) string {
	if kind == Count || kind == Flag {
		return value
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range value {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < 0x20 || r == 0x7f:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
