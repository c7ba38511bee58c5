package server

import (
	"encoding/hex"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
)

var rewriteDocs = flag.Bool("rewrite-docs", false, "write the servers' lines in docs/client-protocol.md anew instead of comparing with them")

const clientProtocol = "../docs/client-protocol.md"

var hexBytes = regexp.MustCompile(`^[0-9a-f ]*`)

// TestDocumentedExchangesAreWhatAServerSays plays every example of docs/client-protocol.md against the code: what
// stands behind > is sent, and what stands behind < has to come back, byte by byte.
func TestDocumentedExchangesAreWhatAServerSays(t *testing.T) {
	text, err := os.ReadFile(clientProtocol)
	require.NoError(t, err)
	lines := strings.Split(string(text), "\n")
	methods := map[wire.Method]int{}
	for at := 0; at < len(lines); at++ {
		if lines[at] == "```exchange" {
			synctest.Test(t, func(t *testing.T) { at = playExchange(t, lines, at+1, methods) })
		}
	}
	for m := wire.MethodHello; m <= wire.MethodStepDown; m++ {
		require.Positive(t, methods[m], "%s has no example", m)
	}
	if *rewriteDocs {
		require.NoError(t, os.WriteFile(clientProtocol, []byte(strings.Join(lines, "\n")), 0o644))
	}
}

func playExchange(t *testing.T, lines []string, at int, methods map[wire.Method]int) (end int) {
	f := newFakeDoor()
	c := newClients(f, ClientOptions{}, nil)
	defer c.close()
	v := visit(t, c)
	for ; lines[at] != "```"; at++ {
		line := lines[at]
		direction, rest := line[0], line[1:]
		rest = strings.TrimPrefix(rest, " ")
		raw, err := hex.DecodeString(strings.ReplaceAll(hexBytes.FindString(rest), " ", ""))
		require.NoError(t, err, line)
		switch direction {
		case '>':
			request, _, err := wire.ParseClientRequest(raw)
			require.NoError(t, err, line)
			require.Equal(t, raw, wire.AppendClientRequest(nil, &request), line)
			methods[request.Method]++
			_, err = v.conn.Write(raw)
			require.NoError(t, err)
		case '<':
			got, err := v.next()
			require.NoError(t, err)
			if *rewriteDocs {
				lines[at] = "< " + spaced(got) + " " + strings.TrimSpace(rest[len(hexBytes.FindString(rest)):])
				continue
			}
			require.Equal(t, hex.EncodeToString(raw), hex.EncodeToString(got), line)
		case '!':
			f.leader = false // told in the text
		default:
			t.Fatalf("%q begins with neither > nor < nor !", line)
		}
	}
	return at
}

// spaced is hexadecimal in groups of four bytes.
func spaced(b []byte) string {
	var s strings.Builder
	for i := range b {
		if i > 0 && i%4 == 0 {
			s.WriteByte(' ')
		}
		s.WriteString(hex.EncodeToString(b[i : i+1]))
	}
	return s.String()
}
