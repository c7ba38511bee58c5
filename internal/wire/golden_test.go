package wire

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write testdata/*.golden anew instead of comparing with them")

// goldenCase is one value and its bytes in a golden file.
type goldenCase struct {
	name  string
	bytes []byte
}

// compareGolden holds cases against testdata/name: a heading line per case, then its bytes in hexadecimal, 32 a line. A
// difference is a change of what is on disk or on the wire and needs a new version, not a rewritten file.
func compareGolden(t *testing.T, name string, cases []goldenCase) {
	t.Helper()
	var text strings.Builder
	for _, c := range cases {
		fmt.Fprintf(&text, "# %s\n", c.name)
		for at := 0; at < len(c.bytes); at += 32 {
			text.WriteString(hex.EncodeToString(c.bytes[at:min(at+32, len(c.bytes))]) + "\n")
		}
		text.WriteString("\n")
	}
	path := filepath.Join("testdata", name)
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), text.String())
}
