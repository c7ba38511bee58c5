package config

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/oarlock/oarlock/raft"
)

// pair is a key and its value as the file has them.
type pair struct {
	key   string // with its table
	kind  unstable.Kind
	value string
	line  int
}

// read fills c in from a file's content and returns everything that is wrong with it.
func (c *Config) read(content []byte) error {
	// The strict parser first: it knows all of TOML's rules (a key twice, a table twice), which a syntax tree does not.
	var whole map[string]any
	if err := toml.Unmarshal(content, &whole); err != nil {
		var syntax *toml.DecodeError
		if errors.As(err, &syntax) {
			line, _ := syntax.Position()
			return &Error{File: c.path, Line: line, Text: strings.TrimPrefix(syntax.Error(), "toml: ")}
		}
		return &Error{File: c.path, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	top, members, err := c.pairs(content)
	if err != nil {
		return err
	}
	var wrong []error
	for _, p := range top {
		text := "members come in double brackets, one after the other: [[member]]"
		if p.key != "member" && !strings.HasPrefix(p.key, "member.") {
			text = c.take(p.key, p)
		}
		if text != "" {
			wrong = append(wrong, &Error{File: c.path, Line: p.line, Key: p.key, Text: text})
		}
	}
	for _, m := range members {
		wrong = append(wrong, c.readMember(m)...)
	}
	return errors.Join(wrong...)
}

// memberTable is one [[member]] of the file.
type memberTable struct {
	line  int
	pairs []pair
}

// pairs walks the syntax tree, which is what knows the lines.
func (c *Config) pairs(content []byte) (top []pair, members []memberTable, err error) {
	var parser unstable.Parser
	parser.Reset(content)
	table, inMember := "", false
	for parser.NextExpression() {
		node := parser.Expression()
		key, offset := dotted(node.Key())
		line := 1 + bytes.Count(content[:offset], []byte("\n"))
		switch node.Kind {
		case unstable.Table:
			table, inMember = key, false
		case unstable.ArrayTable:
			table, inMember = key, true
			if key != "member" {
				return nil, nil, &Error{File: c.path, Line: line, Key: key, Text: "only members come in double brackets: [[member]]"}
			}
			members = append(members, memberTable{line: line})
		case unstable.KeyValue:
			if table != "" {
				key = table + "." + key
			}
			p := pair{key: key, kind: node.Value().Kind, value: string(node.Value().Data), line: line}
			if inMember {
				last := &members[len(members)-1]
				last.pairs = append(last.pairs, p)
			} else {
				top = append(top, p)
			}
		}
	}
	if err := parser.Error(); err != nil {
		return nil, nil, &Error{File: c.path, Text: err.Error()}
	}
	return top, members, nil
}

// dotted joins the parts of a key and returns where the first one stands.
func dotted(parts unstable.Iterator) (key string, offset int) {
	var names []string
	for parts.Next() {
		node := parts.Node()
		if len(names) == 0 {
			offset = int(node.Raw.Offset)
		}
		names = append(names, string(node.Data))
	}
	return strings.Join(names, "."), offset
}

// readMember takes one [[member]], whose id may stand anywhere in it.
func (c *Config) readMember(m memberTable) []error {
	var wrong []error
	fail := func(line int, key, text string) {
		wrong = append(wrong, &Error{File: c.path, Line: line, Key: key, Text: text})
	}
	var id uint64
	for _, p := range m.pairs {
		if p.key != "member.id" {
			continue
		}
		n, err := strconv.ParseUint(strings.ReplaceAll(p.value, "_", ""), 10, 64)
		if p.kind != unstable.Integer || err != nil || n == 0 {
			fail(p.line, p.key, "an id is a whole number from 1")
			return wrong
		}
		id = n
		if other, taken := c.lines[memberKey(raft.ServerID(id), "id")]; taken {
			fail(p.line, p.key, fmt.Sprintf("member %d is already on line %d: give each server its own id", id, other))
			return wrong
		}
		c.lines[memberKey(raft.ServerID(id), "id")] = p.line
	}
	if id == 0 {
		fail(m.line, "member", "has no id")
		return wrong
	}
	c.Members = append(c.Members, Member{ID: raft.ServerID(id), Founder: true})
	for _, p := range m.pairs {
		if p.key == "member.id" {
			continue
		}
		if text := c.take(memberKey(raft.ServerID(id), strings.TrimPrefix(p.key, "member.")), p); text != "" {
			fail(p.line, p.key, text)
		}
	}
	return wrong
}

func memberKey(id raft.ServerID, name string) string {
	return "member." + strconv.FormatUint(uint64(id), 10) + "." + name
}

// take sets one key of the file, after checking that its value is of the right type.
func (c *Config) take(key string, p pair) (wrong string) {
	s, _, wrong := c.target(key, true)
	if wrong != "" {
		return wrong
	}
	value := p.value
	if p.kind == unstable.Integer {
		value = strings.ReplaceAll(value, "_", "")
	}
	ok := p.kind == unstable.String
	switch s.kind {
	case Flag:
		ok = p.kind == unstable.Bool
	case Count:
		ok = p.kind == unstable.Integer
	case Size:
		ok = p.kind == unstable.Integer || p.kind == unstable.String
	}
	if !ok {
		return fmt.Sprintf("must be written as %s", examples[s.kind])
	}
	if wrong := c.set(key, value); wrong != "" {
		return wrong
	}
	c.lines[key] = p.line
	return ""
}

var examples = map[Kind]string{
	Text:     `a string, like "pebble"`,
	Size:     `a size, like "64 MiB"`,
	Duration: `a duration, like "300ms"`,
	Count:    `a whole number, like 256`,
	Flag:     `true or false`,
}
