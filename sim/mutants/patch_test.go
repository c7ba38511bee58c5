package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const oneBug = `The second line is wrong.
Stands for: a test
Because it is.

--- dir/file.go
@@
 one
-two
+zwei

 three
@@
-five
`

func TestABugIsASentenceAndEdits(t *testing.T) {
	b, err := parseBug("name", oneBug)
	require.NoError(t, err)
	require.Equal(t, bug{name: "name", title: "The second line is wrong.", source: "a test", edits: []edit{
		{"dir/file.go", "one\ntwo\n\nthree\n", "one\nzwei\n\nthree\n"},
		{"dir/file.go", "five\n", ""},
	}}, b)
	for _, wrong := range []string{
		"", "A sentence.\nStands for: nothing\n", "No source.\n\n--- a\n@@\n-x\n",
		"A.\nStands for: b\n\n--- a\n-x\n", "A.\nStands for: b\n\n--- a\n@@\n x\n", "A.\nStands for: b\n\n--- a\n@@\nx\n",
	} {
		_, err := parseBug("name", wrong)
		require.Error(t, err, "%q", wrong)
	}
}

func TestAnEditNeedsItsPlaceExactlyOnce(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(root, "dir"), 0o700))
	b, err := parseBug("name", oneBug)
	require.NoError(t, err)
	for _, c := range []struct{ name, text, want string }{
		{"lines have moved", "zero\none\ntwo\n\nthree\nfour\nfive\n", "zero\none\nzwei\n\nthree\nfour\n"},
		{"a line has changed", "one\nTwo\n\nthree\nfive\n", ""},
		{"it stands twice", "one\ntwo\n\nthree\nfive\nfive\n", ""},
		{"only the end of a line is the same", "one\ntwo\n\nthree\ntwentyfive\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(filepath.Join(root, "dir", "file.go"), []byte(c.text), 0o600))
			changed, err := b.apply(root)
			if c.want == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, map[string]string{"dir/file.go": c.want}, changed)
		})
	}
}

func TestTheTableOfAPageIsRewrittenAndNothingElse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.md")
	require.NoError(t, os.WriteFile(file, []byte("before\n"+tableBegin+"old\n"+tableEnd+"after\n"), 0o600))
	require.NoError(t, rewriteTable(file, "new\n"))
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, "before\n"+tableBegin+"new\n"+tableEnd+"after\n", string(page))
	require.NoError(t, os.WriteFile(file, []byte("no place\n"), 0o600))
	require.Error(t, rewriteTable(file, "new\n"))
}

func TestWhatWasNotFoundCountsAsTheLargest(t *testing.T) {
	h := newHunt(options{starts: 5}, builder{}, []bug{{name: "a"}})
	s := h.suspects[0]
	for k, n := range []uint64{7, 0, 3, 5, 0} {
		if n > 0 {
			s.finds[k] = &find{Seed: h.start(k) + n - 1, Check: k % 3, Name: "panic"}
		}
	}
	require.Equal(t, []uint64{7, 0, 3, 5, 0}, s.nth(h))
	median, worst := middle(s.nth(h))
	require.Equal(t, []uint64{7, 0}, []uint64{median, worst})
	require.False(t, s.done())
	require.Equal(t, "panic, check 2", s.rules())
}
