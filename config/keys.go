package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// Kind says how the value of a key is written.
type Kind string

// The kinds of values. In a file all but Count and Flag are strings; a size may also be a bare number of bytes.
const (
	Text     Kind = "text"
	Size     Kind = "size"     // "64 MiB"
	Duration Kind = "duration" // "300ms"
	Count    Kind = "count"    // 256
	Flag     Kind = "flag"     // true or false
)

// Key is one setting.
type Key struct {
	Name    string // table and key, "timing.heartbeat_interval"; keys of members begin with "member."
	Kind    Kind
	Default string // as text, empty if there is none
	Doc     string // one sentence
}

// setting ties a key to its field. at returns a pointer to it; for members' keys it is memberAt that does.
type setting struct {
	name     string
	kind     Kind
	doc      string
	orZero   bool // a number that may be 0
	at       func(*Config) any
	memberAt func(*Member) any
}

// settings is the one table of all keys, in the order in which they are documented and written.
var settings = []setting{
	{name: "cluster.id", kind: Text, doc: "The cluster's random name, made by `oarlock init`. Servers of two clusters never speak to each other.", at: func(c *Config) any { return &c.Cluster }},
	{name: "cluster.insecure", kind: Flag, doc: "Lets servers listen off the loopback without TLS. Everybody who reaches the port can then read and write everything.", at: func(c *Config) any { return &c.Insecure }},

	{name: "timing.election_timeout_min", kind: Duration, doc: "The least time without a leader after which a server campaigns.", at: func(c *Config) any { return &c.Timing.ElectionTimeoutMin }},
	{name: "timing.election_timeout_max", kind: Duration, doc: "The longest such time; each server draws one between the two. A leader that no quorum has answered for as long steps down.", at: func(c *Config) any { return &c.Timing.ElectionTimeoutMax }},
	{name: "timing.heartbeat_interval", kind: Duration, doc: "How often an idle leader speaks. At most a third of the least election timeout.", at: func(c *Config) any { return &c.Timing.HeartbeatInterval }},
	{name: "timing.close_timeout", kind: Duration, doc: "How long closing may take before it gives up and names what is stuck.", at: func(c *Config) any { return &c.Timing.CloseTimeout }},
	{name: "timing.join_timeout", kind: Duration, doc: "How long a server that is to become a voter may be silent before the change of the membership is given up.", at: func(c *Config) any { return &c.Timing.JoinTimeout }},
	{name: "timing.clock_drift_ppm", kind: Count, orZero: true, doc: "If it is not 0, reads by lease are allowed: a bound, in millionths, on how much the rates of any two servers' monotonic clocks differ. 200 is usual for machines that are never suspended. The same on all servers.", at: func(c *Config) any { return &c.Timing.ClockDriftPPM }},

	{name: "log.kind", kind: Text, doc: "`pebble`; `segments`, files of a fixed size, one write and one sync a save; or `memory` for toys: it forgets everything when the process ends. What a directory was formatted with it keeps.", at: func(c *Config) any { return &c.Log.Kind }},
	{name: "log.memtable_bytes", kind: Size, doc: "Of `pebble`: how much the log gathers in memory before it writes a table; two may exist at once.", at: func(c *Config) any { return &c.Log.MemtableBytes }},
	{name: "log.cache_bytes", kind: Size, doc: "Of `pebble`: the log's cache of table blocks, which serves followers that lag.", at: func(c *Config) any { return &c.Log.CacheBytes }},
	{name: "log.open_files_max", kind: Count, doc: "Of `pebble`: how many table files the log holds open.", at: func(c *Config) any { return &c.Log.OpenFilesMax }},
	{name: "log.segment_bytes", kind: Size, doc: "Of `segments`: how long a file is. The newest is read when a server starts, and the oldest goes as a whole.", at: func(c *Config) any { return &c.Log.SegmentBytes }},

	{name: "snapshots.log_bytes", kind: Size, doc: "A snapshot is taken when this much log was applied since the last one.", at: func(c *Config) any { return &c.Snapshots.LogBytes }},
	{name: "snapshots.keep_bytes", kind: Size, doc: "How much log is kept behind the older snapshot for a live follower that lags.", at: func(c *Config) any { return &c.Snapshots.KeepBytes }},

	{name: "limits.sessions_max", kind: Count, doc: "Open client sessions; the least recently used one gives way. The group's: fixed at its birth.", at: func(c *Config) any { return &c.Limits.SessionsMax }},
	{name: "limits.session_results_max", kind: Count, doc: "Results kept for one session. The group's: fixed at its birth.", at: func(c *Config) any { return &c.Limits.SessionResultsMax }},
	{name: "limits.session_result_bytes", kind: Size, doc: "Bytes of results kept for one session. The group's: fixed at its birth.", at: func(c *Config) any { return &c.Limits.SessionResultBytes }},
	{name: "limits.session_expiry", kind: Duration, doc: "Cluster time after which an unused session ends. The group's: fixed at its birth.", at: func(c *Config) any { return &c.Limits.SessionExpiryNanos }},
	{name: "limits.result_bytes_max", kind: Size, doc: "A longer result of a command is replaced by the error *too large*; the command stays executed. The group's: fixed at its birth.", at: func(c *Config) any { return &c.Limits.ResultBytesMax }},

	{name: "sizes.command_bytes_max", kind: Size, doc: "The largest command, and the largest query.", at: func(c *Config) any { return &c.Sizes.CommandBytesMax }},
	{name: "sizes.block_bytes_max", kind: Size, doc: "The largest block of entries; holds a command.", at: func(c *Config) any { return &c.Sizes.BlockBytesMax }},
	{name: "sizes.frame_bytes_max", kind: Size, doc: "The largest frame between servers; holds a block.", at: func(c *Config) any { return &c.Sizes.FrameBytesMax }},
	{name: "sizes.inflight_bytes_max", kind: Size, doc: "Sent to a follower and not yet answered.", at: func(c *Config) any { return &c.Sizes.InflightBytesMax }},
	{name: "sizes.inflight_messages_max", kind: Count, doc: "The same, in messages.", at: func(c *Config) any { return &c.Sizes.InflightMessagesMax }},
	{name: "sizes.tail_bytes_max", kind: Size, doc: "Recent blocks kept in memory, for all groups of a server together.", at: func(c *Config) any { return &c.Sizes.TailBytesMax }},
	{name: "sizes.inbox_bytes_max", kind: Size, doc: "Arrived and not yet looked at, for one group.", at: func(c *Config) any { return &c.Sizes.InboxBytesMax }},
	{name: "sizes.inbox_server_bytes_max", kind: Size, doc: "The same, for a server.", at: func(c *Config) any { return &c.Sizes.InboxServerBytesMax }},
	{name: "sizes.uncommitted_bytes_max", kind: Size, doc: "Appended by a leader and not yet committed, for one group.", at: func(c *Config) any { return &c.Sizes.UncommittedBytesMax }},
	{name: "sizes.uncommitted_server_bytes_max", kind: Size, doc: "The same, for a server.", at: func(c *Config) any { return &c.Sizes.UncommittedServerBytesMax }},
	{name: "sizes.unapplied_bytes_max", kind: Size, doc: "Committed and not yet applied, for one group.", at: func(c *Config) any { return &c.Sizes.UnappliedBytesMax }},
	{name: "sizes.unapplied_server_bytes_max", kind: Size, doc: "The same, for a server.", at: func(c *Config) any { return &c.Sizes.UnappliedServerBytesMax }},

	{name: "tls.certificate", kind: Text, doc: "The server's certificate chain (PEM). `{id}` stands for the member's id.", at: func(c *Config) any { return &c.TLS.Certificate }},
	{name: "tls.key", kind: Text, doc: "The certificate's private key (PEM). `{id}` stands for the member's id.", at: func(c *Config) any { return &c.TLS.Key }},
	{name: "tls.authorities", kind: Text, doc: "Who may sign the certificates of servers and clients (PEM).", at: func(c *Config) any { return &c.TLS.Authorities }},

	{name: "member.id", kind: Count, doc: "The member's number, from 1. Never given to another server again."},
	{name: "member.address", kind: Text, doc: "Where the other servers reach it: host and port.", memberAt: func(m *Member) any { return &m.Address }},
	{name: "member.listen", kind: Text, doc: "What it listens on, if that is not its address (\"0.0.0.0:7101\" in a container).", memberAt: func(m *Member) any { return &m.Listen }},
	{name: "member.client_address", kind: Text, doc: "A listener of its own for clients. Without it they come to the address; with TLS they need this one.", memberAt: func(m *Member) any { return &m.ClientAddress }},
	{name: "member.data", kind: Text, doc: "Its data directory. A relative one begins at the file's folder.", memberAt: func(m *Member) any { return &m.Data }},
	{name: "member.founder", kind: Flag, doc: "Whether it takes part in the group's birth; `false` for a server that was added later.", memberAt: func(m *Member) any { return &m.Founder }},
	{name: "member.priority", kind: Count, orZero: true, doc: "From 0 to 255: a leader hands over to a voter with a higher one that has caught up. It decides no election.", memberAt: func(m *Member) any { return &m.Priority }},
}

var settingsByName = func() map[string]setting {
	byName := make(map[string]setting, len(settings))
	for _, s := range settings {
		byName[s.name] = s
	}
	return byName
}()

// Keys returns every key, in the order of the documentation.
func Keys() []Key {
	keys := make([]Key, 0, len(settings))
	defaults := Default()
	for _, s := range settings {
		key := Key{Name: s.name, Kind: s.kind, Doc: s.doc}
		switch {
		case s.memberAt != nil:
			key.Default = format(s.kind, s.memberAt(&Member{Founder: true}))
		case s.at != nil && s.name != "cluster.id":
			key.Default = format(s.kind, s.at(defaults))
		}
		keys = append(keys, key)
	}
	return keys
}

func keyNames() []string {
	names := make([]string, 0, len(settings))
	for _, s := range settings {
		names = append(names, s.name)
	}
	return names
}

// Set gives a key its value, both as text, as setters in other languages do it. A member's key names the member:
// "member.2.address"; a member that is not there yet is added. The error is an *Error.
// Clashes between settings are found by Validate, once all are set.
func (c *Config) Set(key, value string) error {
	if text := c.set(key, value); text != "" {
		return &Error{Key: key, Text: text}
	}
	if c.lines == nil {
		c.lines = make(map[string]int)
	}
	c.lines[key] = 0 // not in the file, or not any more
	return nil
}

// set is Set, with what is wrong as text.
func (c *Config) set(key, value string) (wrong string) {
	members := len(c.Members)
	s, target, wrong := c.target(key, true)
	if wrong == "" {
		wrong = s.assign(target, value)
	}
	if wrong != "" {
		c.Members = c.Members[:members]
	}
	return wrong
}

// Value returns what a key is set to, as text that Set reads.
func (c *Config) Value(key string) (string, error) {
	s, target, wrong := c.target(key, false)
	if wrong != "" {
		return "", &Error{Key: key, Text: wrong}
	}
	return format(s.kind, target), nil
}

// target finds a key's setting and a pointer to its field.
func (c *Config) target(key string, add bool) (s setting, at any, wrong string) {
	rest, ofMember := strings.CutPrefix(key, "member.")
	if !ofMember {
		s, ok := settingsByName[key]
		if !ok {
			return s, nil, "unknown key" + didYouMean(key, keyNames())
		}
		return s, s.at(c), ""
	}
	number, name, _ := strings.Cut(rest, ".")
	id, err := strconv.ParseUint(number, 10, 64)
	if err != nil || id == 0 {
		return s, nil, "a member's key names the member, like \"member.1.address\""
	}
	s, ok := settingsByName["member."+name]
	if !ok || s.memberAt == nil {
		return s, nil, "unknown key" + didYouMean("member."+name, keyNames())
	}
	for i := range c.Members {
		if c.Members[i].ID == raft.ServerID(id) {
			return s, s.memberAt(&c.Members[i]), ""
		}
	}
	if !add {
		return s, nil, fmt.Sprintf("there is no member %d", id)
	}
	c.Members = append(c.Members, Member{ID: raft.ServerID(id), Founder: true})
	return s, s.memberAt(&c.Members[len(c.Members)-1]), ""
}

func format(kind Kind, at any) string {
	var n int64
	switch p := at.(type) {
	case *string:
		return *p
	case *bool:
		return strconv.FormatBool(*p)
	case *raft.ClusterID:
		return p.String()
	case *time.Duration:
		n = int64(*p)
	case *int:
		n = int64(*p)
	case *int64:
		n = *p
	case *uint32:
		n = int64(*p)
	case *uint8:
		n = int64(*p)
	}
	switch kind {
	case Size:
		return formatSize(n)
	case Duration:
		return formatDuration(time.Duration(n))
	}
	return strconv.FormatInt(n, 10)
}

// assign reads value into the field that at points to, and returns what is wrong with it.
func (s *setting) assign(at any, value string) (wrong string) {
	var n int64
	var err error
	switch s.kind {
	case Text:
		return assignText(at, value)
	case Flag:
		if value != "true" && value != "false" {
			return fmt.Sprintf("%q is neither true nor false", value)
		}
		if p, ok := at.(*bool); ok {
			*p = value == "true"
		}
		return ""
	case Size:
		n, err = parseSize(value)
	case Duration:
		var d time.Duration
		d, err = parseDuration(value)
		n = int64(d)
	case Count:
		if n, err = strconv.ParseInt(value, 10, 64); err != nil {
			return fmt.Sprintf("%q is not a whole number", value)
		}
	}
	if err != nil {
		return err.Error()
	}
	return s.assignNumber(at, n)
}

func assignText(at any, value string) string {
	switch p := at.(type) {
	case *string:
		*p = value
	case *raft.ClusterID:
		id, err := raft.ParseClusterID(value)
		if err != nil {
			return err.Error() + "; `oarlock init` makes one"
		}
		*p = id
	}
	return ""
}

func (s *setting) assignNumber(at any, n int64) string {
	least, most := int64(1), int64(math.MaxInt64)
	switch at.(type) {
	case *int:
		most = math.MaxInt
	case *uint32:
		most = math.MaxUint32
	case *uint8:
		most = math.MaxUint8
	}
	if s.orZero {
		least = 0
	}
	if n < least || n > most {
		return fmt.Sprintf("%s is out of range: from %s to %s", format(s.kind, &n), format(s.kind, &least), format(s.kind, &most))
	}
	switch p := at.(type) {
	case *int:
		*p = int(n)
	case *int64:
		*p = n
	case *uint32:
		*p = uint32(n)
	case *uint8:
		*p = uint8(n)
	case *time.Duration:
		*p = time.Duration(n)
	}
	return ""
}
