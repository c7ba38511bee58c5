package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?")

// morePatience gives the servers of a cluster.toml that init has just written longer election timeouts.
const morePatience = `sed -e 's/^# election_timeout_min.*/election_timeout_min = "1s"/' -e 's/^# election_timeout_max.*/election_timeout_max = "1500ms"/' \
	cluster.toml >patient.toml && mv patient.toml cluster.toml
grep -q '^election_timeout_max' cluster.toml
`

// TestOperationsPageSaysWhatHappens runs the page's commands in one shell, at other ports, and looks for what the page shows,
// line by line and in order, in what each block printed. "…" stands for anything.
func TestOperationsPageSaysWhatHappens(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skipf("the page is for a shell: %v", err)
	}
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	require.NoError(t, err)
	port := testPorts(t, 6)
	text := string(page)
	for i := range 6 {
		text = strings.ReplaceAll(text, strconv.Itoa(4501+i), strconv.Itoa(port+i))
	}
	blocks := shellBlock.FindAllStringSubmatch(text, -1)
	require.Greater(t, len(blocks), 8)
	script := "trap 'kill -9 $(cat server-*.pid) 2>/dev/null' EXIT\ntrap 'exit 1' TERM\nset -eu\n"
	for i, b := range blocks {
		script += fmt.Sprintf("echo '=== %d'\n%s", i, b[1])
		if i == 0 { // many servers share a small machine here
			script += morePatience
		}
	}
	script += "wait\necho '=== end'\n"
	dir := t.TempDir()
	path := filepath.Join(dir, "page.sh")
	require.NoError(t, os.WriteFile(path, []byte(script), 0o600))
	t.Chdir(dir)
	e := runToEnd(t, []string{"PATH=" + filepath.Dir(binary) + ":" + os.Getenv("PATH")}, shell, path)
	require.Contains(t, e.out, "=== end\n", "%s%s", e.out, e.errors)
	for i, b := range blocks {
		_, printed, found := strings.Cut(e.out, fmt.Sprintf("=== %d\n", i))
		require.True(t, found)
		printed, _, _ = strings.Cut(printed, "=== ")
		for line := range strings.Lines(b[2]) {
			// The other ports have five digits, so that columns are wider than the page's.
			pattern := strings.ReplaceAll(strings.Join(strings.Fields(regexp.QuoteMeta(line)), " +"), "…", ".*")
			at := regexp.MustCompile("(?m)^" + pattern + " *$").FindStringIndex(printed)
			require.NotNil(t, at, "block %d does not print %q but\n%s%s", i, line, printed, e.errors)
			printed = printed[at[1]:]
		}
	}
}
