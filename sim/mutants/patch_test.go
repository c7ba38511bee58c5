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
