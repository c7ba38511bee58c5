package config

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Config is a cluster as its file describes it. Make one with Default, Parse, Load or Generate. It is a plain value
// without locks: fill it in on one goroutine, then share it unchanged.
type Config struct {
	// Cluster is the cluster's random name.
	Cluster raft.ClusterID
	// Insecure lets servers listen off the loopback without TLS.
	Insecure bool
	// Members are the servers, in the order of the file.
	Members []Member

	Timing    Timing
	Log       Log
	Snapshots Snapshots
	Limits    raft.GroupLimits
	Sizes     Sizes
	TLS       TLS

	path  string         // the file that this came from, or empty
	lines map[string]int // where each key was set in it; 0: by Set
}

// Member is one server of the cluster.
type Member struct {
	ID raft.ServerID
	// Address is where the other servers reach it, host and port.
	Address string
	// Listen is what it listens on, if that is not Address.
	Listen string
	// ClientAddress is a listener of its own for clients. Without it they come to Address, or with TLS not at all.
	ClientAddress string
	// Data is its data directory. A relative one begins at the file's folder.
	Data string
	// Founder is whether it takes part in the group's birth. A server that was added later does not.
	Founder bool
	// Priority is its claim to leadership: a leader hands over to one that has a higher one and has caught up. 0 is the lowest.
	Priority uint8
}

// Timing is how patient servers are.
type Timing struct {
	ElectionTimeoutMin time.Duration
	ElectionTimeoutMax time.Duration
	HeartbeatInterval  time.Duration
	CloseTimeout       time.Duration
	// JoinTimeout is how long a server that is to become a voter may be silent before the change is given up.
	JoinTimeout time.Duration
	// ClockDriftPPM, if it is not 0, allows reads by lease: a bound on the difference in rate between any two servers' clocks.
	ClockDriftPPM uint32
}

// Log says which PersistentLog a server has.
type Log struct {
	// Kind is "pebble", "segments", or "memory" for toys that may forget everything.
	Kind          string
	MemtableBytes int
	CacheBytes    int
	OpenFilesMax  int
	SegmentBytes  int
}

// Snapshots says when snapshots are taken and what is kept behind them.
type Snapshots struct {
	LogBytes  int64
	KeepBytes int64
}

// Sizes bound what is in memory and on the wire.
type Sizes struct {
	CommandBytesMax           int
	BlockBytesMax             int
	FrameBytesMax             int
	InflightBytesMax          int
	InflightMessagesMax       int
	TailBytesMax              int
	InboxBytesMax             int
	InboxServerBytesMax       int
	UncommittedBytesMax       int
	UncommittedServerBytesMax int
	UnappliedBytesMax         int
	UnappliedServerBytesMax   int
}

// TLS names the files for TLS between servers and with clients. In each name "{id}" stands for the member's id. All
// three are set, or none.
type TLS struct {
	Certificate string
	Key         string
	Authorities string
}

// Enabled reports whether TLS is configured.
func (t TLS) Enabled() bool { return t.Certificate != "" && t.Key != "" && t.Authorities != "" }

// Default returns a Config with every default in place, no cluster id and no members.
func Default() *Config {
	const kib, mib = 1 << 10, 1 << 20
	return &Config{
		Timing: Timing{
			ElectionTimeoutMin: 300 * time.Millisecond, ElectionTimeoutMax: 600 * time.Millisecond,
			HeartbeatInterval: 60 * time.Millisecond, CloseTimeout: 10 * time.Second, JoinTimeout: 30 * time.Second,
		},
		Log:       Log{Kind: LogPebble, MemtableBytes: 64 * mib, CacheBytes: 8 * mib, OpenFilesMax: 256, SegmentBytes: 64 * mib},
		Snapshots: Snapshots{LogBytes: 256 * mib, KeepBytes: 1024 * mib},
		Limits: raft.GroupLimits{
			SessionsMax: 10_000, SessionResultsMax: 256, SessionResultBytes: 1024 * kib,
			SessionExpiryNanos: int64(time.Hour), ResultBytesMax: 2 * mib,
		},
		Sizes: Sizes{
			CommandBytesMax: 2 * mib, BlockBytesMax: 4 * mib, FrameBytesMax: 8 * mib,
			InflightBytesMax: 16 * mib, InflightMessagesMax: 256, TailBytesMax: 64 * mib,
			InboxBytesMax: 64 * mib, InboxServerBytesMax: 256 * mib,
			UncommittedBytesMax: 64 * mib, UncommittedServerBytesMax: 256 * mib,
			UnappliedBytesMax: 64 * mib, UnappliedServerBytesMax: 256 * mib,
		},
		lines: make(map[string]int),
	}
}

// The kinds of log.
const (
	LogPebble   = "pebble"   // the default: durable, on Pebble
	LogSegments = "segments" // durable, in files of a fixed size
	LogMemory   = "memory"   // forgets everything when the process ends
)

// Load reads and validates a file.
func Load(path string) (*Config, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return Parse(path, content)
}

// Parse reads and validates a file's content. path stands in errors, and relative paths begin at its folder.
func Parse(path string, content []byte) (*Config, error) {
	c := Default()
	c.path = path
	if err := c.read(content); err != nil {
		return nil, err
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return c, nil
}

// Clone returns a copy that shares nothing with c.
func (c *Config) Clone() *Config {
	clone := *c
	clone.Members = slices.Clone(c.Members)
	clone.lines = maps.Clone(c.lines)
	return &clone
}

// Path returns the file that the Config came from, or an empty string.
func (c *Config) Path() string { return c.path }

// Member returns the member with that id. The error names those that there are.
func (c *Config) Member(id raft.ServerID) (Member, error) {
	known := make([]string, 0, len(c.Members))
	for _, m := range c.Members {
		if m.ID == id {
			return m, nil
		}
		known = append(known, strconv.FormatUint(uint64(m.ID), 10))
	}
	return Member{}, &Error{File: c.path, Key: "member", Text: fmt.Sprintf("there is no member %d; the file has: %s", id, strings.Join(known, ", "))}
}

// ClientAddresses says where clients reach each member: client.Options.Addresses.
func (c *Config) ClientAddresses() map[raft.ServerID]string {
	addresses := make(map[raft.ServerID]string, len(c.Members))
	for _, m := range c.Members {
		addresses[m.ID] = cmp.Or(m.ClientAddress, m.Address)
	}
	return addresses
}

// DataDir returns the member's data directory; a relative one begins at the file's folder.
func (c *Config) DataDir(m Member) string { return c.resolve(m.Data) }

// TLSFor returns the names of the member's TLS files.
func (c *Config) TLSFor(m Member) TLS {
	name := func(pattern string) string {
		if pattern == "" {
			return ""
		}
		return c.resolve(strings.ReplaceAll(pattern, "{id}", strconv.FormatUint(uint64(m.ID), 10)))
	}
	return TLS{Certificate: name(c.TLS.Certificate), Key: name(c.TLS.Key), Authorities: name(c.TLS.Authorities)}
}

// Founders returns the members that take part in the group's birth, sorted by id, as a server is given them. They are
// empty for a member that joined later.
func (c *Config) Founders(m Member) []raft.Member {
	if !m.Founder {
		return nil
	}
	var founders []raft.Member
	for _, other := range c.Members {
		if other.Founder {
			founders = append(founders, raft.Member{ID: other.ID, Address: other.Address})
		}
	}
	return sortedByID(founders)
}

func (c *Config) resolve(name string) string {
	if filepath.IsAbs(name) || c.path == "" {
		return filepath.Clean(name)
	}
	return filepath.Join(filepath.Dir(c.path), name)
}
