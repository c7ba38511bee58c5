package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/oarlock/oarlock/raft"
)

const three = `
[cluster]
id = "0102030405060708090a0b0c0d0e0f10"

[timing]
heartbeat_interval = "50ms"

[sizes]
command_bytes_max = "1 MiB"
block_bytes_max = 3145728

[[member]]
id = 1
address = "127.0.0.1:7101"
data = "one"

[[member]]
address = "127.0.0.1:7102"
data = "/srv/two"
id = 2

[[member]]
id = 3
address = "localhost:7103"
client_address = "127.0.0.1:8103"
data = "three"
founder = false
`

func TestFileBecomesConfig(t *testing.T) {
	c, err := Parse("/etc/oarlock/cluster.toml", []byte(three))
	require.NoError(t, err)
	require.Equal(t, "01020304-0506-0708-090a-0b0c0d0e0f10", c.Cluster.String())
	require.Equal(t, 50*time.Millisecond, c.Timing.HeartbeatInterval)
	require.Equal(t, 300*time.Millisecond, c.Timing.ElectionTimeoutMin, "a key that is not in the file has its default")
	require.Equal(t, 1<<20, c.Sizes.CommandBytesMax)
	require.Equal(t, 3<<20, c.Sizes.BlockBytesMax, "a bare number is bytes")
	require.Len(t, c.Members, 3)

	two, err := c.Member(2)
	require.NoError(t, err)
	require.Equal(t, Member{ID: 2, Address: "127.0.0.1:7102", Data: "/srv/two", Founder: true}, two)
	require.Equal(t, "/srv/two", c.DataDir(two))
	require.Equal(t, []raft.Member{{ID: 1, Address: "127.0.0.1:7101"}, {ID: 2, Address: "127.0.0.1:7102"}}, c.Founders(two))

	late, err := c.Member(3)
	require.NoError(t, err)
	require.Equal(t, "/etc/oarlock/three", c.DataDir(late), "a relative directory begins at the file's folder")
	require.Empty(t, c.Founders(late), "a server that was added later takes no part in the birth")

	_, err = c.Member(4)
	require.ErrorContains(t, err, "there is no member 4; the file has: 1, 2, 3")
}

// TestEachMistakeIsNamedWithItsLineAndTheWayOut changes one thing in a good file.
func TestEachMistakeIsNamedWithItsLineAndTheWayOut(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"unknown key", `heartbeat_interval`, `heartbeat_intervall`, `c.toml:6: timing.heartbeat_intervall: unknown key; did you mean "timing.heartbeat_interval"?`},
		{"unknown table", `[timing]`, `[timings]`, `did you mean "timing.heartbeat_interval"?`},
		{"unknown key of a member", `founder = false`, `fonder = false`, `c.toml:27: member.fonder: unknown key; did you mean "member.founder"?`},
		{"nothing near", `heartbeat_interval`, `colour_of_the_sky_at_dawn`, `c.toml:6: timing.colour_of_the_sky_at_dawn: unknown key`},
		{"syntax", `id = 1`, `id = = 1`, `c.toml:13: `},
		{"key twice", "data = \"one\"", "data = \"one\"\ndata = \"uno\"", `c.toml:16: `},
		{"two members with one id", `id = 3`, `id = 1`, `c.toml:23: member.id: member 1 is already on line 13`},
		{"member without id", "id = 2\n", "\n", `c.toml:17: member: has no id`},
		{"id that is no number", `id = 2`, `id = "two"`, `c.toml:20: member.id: an id is a whole number from 1`},
		{"id 0", `id = 2`, `id = 0`, `c.toml:20: member.id: an id is a whole number from 1`},
		{"one pair of brackets before two", "[[member]]\nid = 1", "[member]\nid = 1", `c.toml:17: key member already exists as a table`},
		{"other double brackets", "[timing]", "[[timing]]", `c.toml:5: timing: only members come in double brackets`},
		{"members inline", "[cluster]", "member = [{id = 1}]\n[cluster]", `c.toml:13: `},
		{"address without port", `"127.0.0.1:7102"`, `"127.0.0.1"`, `c.toml:18: member.2.address: "127.0.0.1" is no address: missing port in address; write host:port`},
		{"port out of range", `127.0.0.1:7102`, `127.0.0.1:71020`, `port "71020" is not a number from 1 to 65535`},
		{"port by name", `127.0.0.1:7102`, `127.0.0.1:http`, `port "http" is not a number`},
		{"address twice", `127.0.0.1:7102`, `127.0.0.1:7101`, `c.toml:18: member.2.address: "127.0.0.1:7101" is member.1.address (127.0.0.1:7101, line 14) already`},
		{"wildcard as address", `127.0.0.1:7102`, `0.0.0.0:7102`, `is not where other servers can reach it; put it under listen`},
		{"off loopback without TLS", `127.0.0.1:7102`, `10.1.2.3:7102`, `c.toml:18: member.2.address: "10.1.2.3:7102" is off the loopback and there is no TLS`},
		{"client listener off loopback", `127.0.0.1:8103`, `:8103`, `c.toml:25: member.3.client_address: ":8103" is off the loopback`},
		{"half of TLS", "[timing]", "[tls]\nkey = \"k\"\n\n[timing]", `tls.certificate: is missing: certificate, key and authorities come together`},
		{"no data directory", "data = \"three\"\n", "", `member 3 has no data directory`},
		{"heartbeat too slow", `"50ms"`, `"101ms"`, `c.toml:6: timing.heartbeat_interval: timing.heartbeat_interval (101ms, line 6) must be at most a third of timing.election_timeout_min (300ms, the default)`},
		{"timeouts that do not differ", `heartbeat_interval = "50ms"`, `election_timeout_max = "300ms"`, `timing.election_timeout_max (300ms, line 6) must be longer than timing.election_timeout_min (300ms, the default)`},
		{"command larger than block", `"1 MiB"`, `"3 MiB"`, `c.toml:9: sizes.command_bytes_max: sizes.command_bytes_max (3 MiB, line 9) with its headers must fit into sizes.block_bytes_max (3 MiB, line 10)`},
		{"block larger than frame", `3145728`, `8388608`, `sizes.block_bytes_max (8 MiB, line 10) with the frame's own fields must fit into sizes.frame_bytes_max (8 MiB, the default)`},
		{"memtable too small", `[timing]`, "[log]\nmemtable_bytes = \"64 KiB\"\n[timing]", `c.toml:6: log.memtable_bytes: log.memtable_bytes (64 KiB, line 6) must be from 1 MiB to 1 GiB`},
		{"too few files", `[timing]`, "[log]\nopen_files_max = 3\n[timing]", `log.open_files_max (3, line 6) must be from 16 to 1048576`},
		{"frame larger than window", `block_bytes_max = 3145728`, `frame_bytes_max = "32 MiB"`, `sizes.frame_bytes_max (32 MiB, line 10) must fit into sizes.inflight_bytes_max (16 MiB, the default)`},
		{"group's queue larger than the server's", `block_bytes_max = 3145728`, `inbox_bytes_max = "1 GiB"`, `sizes.inbox_bytes_max (1 GiB, line 10) must fit into sizes.inbox_server_bytes_max (256 MiB, the default)`},
		{"decimal unit", `"1 MiB"`, `"1 MB"`, `c.toml:9: sizes.command_bytes_max: "1 MB" is not a size`},
		{"size that is no string", `"1 MiB"`, `true`, `must be written as a size, like "64 MiB"`},
		{"size beyond a number", `"1 MiB"`, `"99999999 TiB"`, `is larger than any memory`},
		{"zero", `3145728`, `0`, `0 B is out of range`},
		{"duration without unit", `"50ms"`, `"50"`, `"50" has no unit`},
		{"duration as number", `"50ms"`, `50`, `must be written as a duration, like "300ms"`},
		{"bool as string", `founder = false`, `founder = "no"`, `must be written as true or false`},
		{"unknown log", `[timing]`, "[log]\nkind = \"peble\"\n[timing]", `there is no log "peble"; did you mean "pebble"?`},
		{"bad cluster id", `0102030405060708090a0b0c0d0e0f10`, `0102`, "4 hexadecimal digits, want 32; `oarlock init` makes one"},
		{"no cluster id", `id = "0102030405060708090a0b0c0d0e0f10"`, ``, `cluster.id: is missing`},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, 1, strings.Count(three, c.old), "the file must have it once")
			_, err := Parse("c.toml", []byte(strings.Replace(three, c.old, c.new, 1)))
			require.Error(t, err)
			require.Contains(t, err.Error(), c.want)
			var one *Error
			require.ErrorAs(t, err, &one)
		})
	}
}

func TestMembersComeInDoubleBrackets(t *testing.T) {
	for _, file := range []string{
		"[member]\nid = 1\n", "[member.1]\naddress = \"127.0.0.1:1\"\n", "member.1.address = \"127.0.0.1:1\"\n", "member = [{id = 1}]\n",
	} {
		_, err := Parse("c.toml", []byte(file))
		require.ErrorContains(t, err, "members come in double brackets", "%s", file)
	}
}

func TestAllMistakesOfAFileAreReportedTogether(t *testing.T) {
	_, err := Parse("c.toml", []byte("[timing]\nheartbeat = \"1s\"\nelection_timeout_min = 5\n[sizes]\ntail = 1\n"))
	var joined interface{ Unwrap() []error }
	require.ErrorAs(t, err, &joined)
	require.Len(t, joined.Unwrap(), 3, "%v", err)
}

func TestInsecureOrTLSOpensTheNetwork(t *testing.T) {
	open := strings.ReplaceAll(three, "127.0.0.1", "10.0.0.9")
	_, err := Parse("c.toml", []byte(open))
	require.ErrorContains(t, err, "off the loopback")

	_, err = Parse("c.toml", []byte(strings.Replace(open, "[timing]", "insecure = true\n[timing]", 1)))
	require.NoError(t, err)

	c, err := Parse("/etc/c.toml", []byte(open+"\n[tls]\ncertificate = \"tls/{id}.crt\"\nkey = \"/keys/{id}.key\"\nauthorities = \"ca.crt\"\n"))
	require.NoError(t, err)
	require.Equal(t, TLS{Certificate: "/etc/tls/2.crt", Key: "/keys/2.key", Authorities: "/etc/ca.crt"}, c.TLSFor(Member{ID: 2}))
}

func TestEveryKeyCanBeSetReadAndWritten(t *testing.T) {
	values := map[Kind]string{Size: "3 MiB", Duration: "7ms", Count: "77", Flag: "true"}
	c, err := Generate(2, "data", 7100)
	require.NoError(t, err)
	for _, key := range Keys() {
		name, value := key.Name, values[key.Kind]
		if key.Kind == Text {
			value = "a \"quoted\" \\ text"
		}
		switch name {
		case "member.id":
			continue
		case "cluster.id":
			value = "00000000-0000-0000-0000-00000000000a"
		case "member.founder":
			value = "false"
		}
		name = strings.Replace(name, "member.", "member.2.", 1)
		require.NoError(t, c.Set(name, value), name)
		got, err := c.Value(name)
		require.NoError(t, err)
		require.Equal(t, value, got, name)
	}
	var file strings.Builder
	require.NoError(t, c.Encode(&file))
	again := Default()
	require.NoError(t, again.read([]byte(file.String())), file.String())
	again.lines = c.lines
	require.Equal(t, c, again, "what was written is what is read:\n%s", file.String())
}

func TestSetRefusesWhatAFileRefuses(t *testing.T) {
	c := Default()
	for key, value := range map[string]string{
		"timing.heartbeat": "1s", "member.address": "x:1", "member.0.address": "x:1", "member.1.colour": "red",
		"member.1.id": "2", "member.1.priority": "256", "timing.join_timeout": "0s", "sizes.tail_bytes_max": "1 MB", "limits.sessions_max": "4294967296", "cluster.insecure": "yes",
	} {
		var one *Error
		require.ErrorAs(t, c.Set(key, value), &one, key)
		require.Equal(t, key, one.Key)
	}
	require.Empty(t, c.Members, "a key that was refused adds no member")
	require.NoError(t, c.Set("member.4.address", "127.0.0.1:7104"))
	require.Equal(t, []Member{{ID: 4, Address: "127.0.0.1:7104", Founder: true}}, c.Members)
}

func TestGeneratedFileIsReadBackAndNeverOverwritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cluster.toml")
	c, err := Generate(3, "data", 7101)
	require.NoError(t, err)
	require.False(t, c.Cluster.IsZero())
	require.NoError(t, c.Write(path))

	read, err := Load(path)
	require.NoError(t, err)
	require.Equal(t, c.Cluster, read.Cluster)
	require.Equal(t, c.Members, read.Members)
	require.Equal(t, filepath.Join(filepath.Dir(path), "data", "2"), read.DataDir(read.Members[1]))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	require.ErrorIs(t, c.Write(path), os.ErrExist)
	other, err := Generate(3, "data", 7101)
	require.NoError(t, err)
	require.NotEqual(t, c.Cluster, other.Cluster, "two clusters have two names")

	for _, bad := range [][2]int{{0, 7101}, {100, 7101}, {3, 65534}, {3, 0}} {
		_, err := Generate(bad[0], "data", bad[1])
		require.Error(t, err, "%v", bad)
	}
}

func TestMissingFileIsAnErrorOfTheFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestSizesAndDurationsSurviveBeingWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Min(0).Draw(t, "bytes")
		got, err := parseSize(formatSize(n))
		if err != nil || got != n {
			t.Fatalf("%d became %q, %d, %v", n, formatSize(n), got, err)
		}
		d := time.Duration(rapid.Int64Min(0).Draw(t, "nanoseconds"))
		back, err := parseDuration(formatDuration(d))
		if d != 0 && (err != nil || back != d) {
			t.Fatalf("%v became %q, %v, %v", d, formatDuration(d), back, err)
		}
	})
	require.Equal(t, "1h", formatDuration(time.Hour))
	require.Equal(t, "10s", formatDuration(10*time.Second))
	require.Equal(t, "20m", formatDuration(20*time.Minute))
	require.Equal(t, "10h", formatDuration(10*time.Hour))
}

func FuzzParseNeverPanicsAndNamesTheFile(f *testing.F) {
	f.Add([]byte(three))
	f.Add([]byte("[[member]]\nid=1\n[member.x]\ny=1\n"))
	f.Add([]byte("member = [{id = 1}]\ncluster = {id = 3}\n"))
	f.Add([]byte("[timing]\n\"heartbeat_interval\" = '''\n50ms'''\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, err := Parse("c.toml", content)
		var one *Error
		if err != nil && !errors.As(err, &one) {
			t.Fatalf("an error of another type: %v", err)
		}
		if err != nil && !strings.Contains(err.Error(), "c.toml") {
			t.Fatalf("an error without the file: %v", err)
		}
	})
}

func TestWhatWasSetIsNotCalledTheDefaultOrTheFiles(t *testing.T) {
	c, err := Generate(1, "data", 7101)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "c.toml")
	require.NoError(t, c.Write(path))
	c, err = Load(path)
	require.NoError(t, err)
	require.NoError(t, c.Set("timing.election_timeout_min", "3s"))
	require.ErrorContains(t, c.Validate(), "must be longer than timing.election_timeout_min (3s)")
	require.NoError(t, c.Set("member.1.address", "127.0.0.1:1"))
	require.NoError(t, new(Config).Set("timing.close_timeout", "1s"), "also without a file")
}
