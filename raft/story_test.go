package raft

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts of testdata/stories anew; read the difference")

// A story is a script with its whole transcript: lines that begin with "> " are commands (story_commands_test.go), lines
// that begin with "#" are for the reader, all others are what happened. The invariants hold throughout.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/stories/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			require.NoError(t, err)
			is := playStory(t, string(was))
			if *rewrite && !bytes.Equal(was, []byte(is)) {
				require.NoError(t, os.WriteFile(file, []byte(is), 0o644))
				return
			}
			require.Equal(t, string(was), is, "the story went another way; go test ./raft -run TestStories -rewrite, and read the difference")
		})
	}
}

// playStory returns the script with what happened now.
func playStory(t *testing.T, script string) string {
	s := &story{t: t}
	var out strings.Builder
	for _, line := range strings.Split(script, "\n") {
		command, is := strings.CutPrefix(line, "> ")
		if !is && !strings.HasPrefix(line, "#") {
			continue // what happened last time
		}
		if is || out.Len() > 0 && !strings.HasSuffix(out.String(), "\n\n") && !endsInComment(out.String()) {
			separate(&out)
		}
		out.WriteString(line + "\n")
		if is {
			out.WriteString(s.play(command))
		}
	}
	return out.String()
}

// separate puts an empty line before a command that has output before it; a comment belongs to the command after it.
func separate(out *strings.Builder) {
	text := out.String()
	if text == "" || endsInComment(text) || strings.HasSuffix(text, "\n\n") {
		return
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if !strings.HasPrefix(lines[len(lines)-1], "> ") {
		out.WriteString("\n")
	}
}

func endsInComment(text string) bool {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.HasPrefix(lines[len(lines)-1], "#")
}
