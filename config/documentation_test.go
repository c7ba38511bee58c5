package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write docs/configuration.md anew")

const documentation = "../docs/configuration.md"

var tableDocs = map[string]string{
	"cluster":   "",
	"timing":    "The three timeouts of Raft belong together: an election timeout well above the round trip and the slowest usual sync, a heartbeat of a fifth of it.",
	"log":       "",
	"snapshots": "",
	"limits":    "These decide what an entry does, so they belong to the group and not to a server: the founder with the lowest id fixes them at the group's birth, and changing them here later changes nothing.",
	"sizes":     "What is full refuses with *busy* at the door; nothing is dropped inside. Command, block, frame, in flight and uncommitted must each fit into the next.",
	"tls": "All three, or none. Without TLS a listener off the loopback needs `cluster.insecure = true`. With TLS (1.3, certificates on both sides), " +
		"a server's certificate carries its host name or address and the URI `oarlock://<cluster id>/server` among its alternative names; a client's does not. " +
		"Clients then come in by `client_address` only, so that no client's certificate opens the door of the servers.",
	"member": "One `[[member]]` for each server. A new member's `[[member]]` has `founder = false`.",
}

// document writes docs/configuration.md from the table of keys.
func document() string {
	var b strings.Builder
	b.WriteString(`# Configuration

One TOML file describes a cluster, and every member reads the same one; which member a server is, it is told when it is started.
` + "`oarlock init`" + ` writes a file. An unknown key is an error that names the nearest known one. Two settings that clash are both named,
with their values and lines.

A size is a whole number and a binary unit (` + "`\"64 MiB\"`" + `); a bare number is bytes. A duration is a number and a unit (` + "`\"300ms\"`" + `).

What is logged is chosen by the environment: ` + "`OARLOCK_LOG=raft=debug,info`" + ` logs of the component ` + "`raft`" + ` from debug up, of all others from info
up. Levels are debug, info, warn, error and off.

This page is written from the table of keys in package ` + "`config`" + `: ` + "`go test ./config -run Documentation -update`" + `.
`)
	table := ""
	for _, key := range Keys() {
		name, bare, _ := strings.Cut(key.Name, ".")
		if name != table {
			table = name
			heading := "[" + name + "]"
			if name == "member" {
				heading = "[[member]]"
			}
			fmt.Fprintf(&b, "\n## `%s`\n\n", heading)
			if tableDocs[name] != "" {
				b.WriteString(tableDocs[name] + "\n\n")
			}
			b.WriteString("| Key | Kind | Default | Meaning |\n|---|---|---|---|\n")
		}
		value := ""
		if key.Default != "" {
			value = "`" + literal(key.Kind, key.Default) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", bare, key.Kind, value, key.Doc)
	}
	return b.String()
}

func TestDocumentationListsEveryKeyWithItsDefault(t *testing.T) {
	if *update {
		require.NoError(t, os.WriteFile(documentation, []byte(document()), 0o644))
	}
	content, err := os.ReadFile(documentation)
	require.NoError(t, err)
	require.Equal(t, document(), string(content), "go test ./config -run Documentation -update")
	for _, key := range Keys() {
		require.NotEmpty(t, key.Doc, key.Name)
	}
}
