package config

import (
	"errors"
	"fmt"
	"math"
	"net"
	"slices"

	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

const (
	// entryOverhead is the most that a command's envelope and its place in a block add to it.
	entryOverhead = 48
	// frameOverhead is room for what a frame carries beside a block.
	frameOverhead = 4 << 10
)

// Validate returns everything that cannot work, each with its line if it came from a file. Parse and Load have called it;
// call it after Set.
func (c *Config) Validate() error {
	return errors.Join(errors.Join(c.ranges()...), errors.Join(c.clashes()...), errors.Join(c.members()...), errors.Join(c.security()...))
}

// wrong is an Error about a key of this configuration.
func (c *Config) wrong(key, format string, args ...any) error {
	return &Error{File: c.path, Line: c.lines[key], Key: key, Text: fmt.Sprintf(format, args...)}
}

// shown is a key with its value and where that comes from: one of two that clash.
func (c *Config) shown(key string) string {
	value, err := c.Value(key)
	if err != nil {
		value = "?"
	}
	switch line, set := c.lines[key]; {
	case line > 0:
		return fmt.Sprintf("%s (%s, line %d)", key, value, line)
	case c.path != "" && !set:
		return fmt.Sprintf("%s (%s, the default)", key, value)
	}
	return fmt.Sprintf("%s (%s)", key, value)
}

// bound says that what is needed for one key must fit into another.
type bound struct {
	small  string
	need   int64
	reason string // what need adds to small, if it adds something
	large  string
	room   int64
}

func (c *Config) bounds() []bound {
	s, l := c.Sizes, c.Limits
	const block, header = "sizes.block_bytes_max", raft.BlockHeaderSize
	return []bound{
		{"sizes.command_bytes_max", int64(s.CommandBytesMax) + entryOverhead + header, " with its headers", block, int64(s.BlockBytesMax)},
		{block, int64(s.BlockBytesMax) + frameOverhead, " with the frame's own fields", "sizes.frame_bytes_max", int64(s.FrameBytesMax)},
		{"limits.result_bytes_max", int64(l.ResultBytesMax) + frameOverhead, " with the frame's own fields", "sizes.frame_bytes_max", int64(s.FrameBytesMax)},
		{"sizes.frame_bytes_max", int64(s.FrameBytesMax), "", "sizes.inflight_bytes_max", int64(s.InflightBytesMax)},
		{"sizes.inflight_bytes_max", int64(s.InflightBytesMax), "", "sizes.uncommitted_bytes_max", int64(s.UncommittedBytesMax)},
		{block, int64(s.BlockBytesMax), "", "sizes.inbox_bytes_max", int64(s.InboxBytesMax)},
		{block, int64(s.BlockBytesMax), "", "sizes.unapplied_bytes_max", int64(s.UnappliedBytesMax)},
		{"sizes.inbox_bytes_max", int64(s.InboxBytesMax), "", "sizes.inbox_server_bytes_max", int64(s.InboxServerBytesMax)},
		{"sizes.uncommitted_bytes_max", int64(s.UncommittedBytesMax), "", "sizes.uncommitted_server_bytes_max", int64(s.UncommittedServerBytesMax)},
		{"sizes.unapplied_bytes_max", int64(s.UnappliedBytesMax), "", "sizes.unapplied_server_bytes_max", int64(s.UnappliedServerBytesMax)},
	}
}

// ranges are the settings that a part bounds by itself.
func (c *Config) ranges() []error {
	var found []error
	for _, r := range []struct {
		key              string
		value, low, high int
	}{
		{"log.memtable_bytes", c.Log.MemtableBytes, 1 << 20, 1 << 30},
		{"log.cache_bytes", c.Log.CacheBytes, 1 << 20, math.MaxInt},
		{"log.open_files_max", c.Log.OpenFilesMax, 16, 1 << 20},
		{"log.segment_bytes", c.Log.SegmentBytes, 64 << 10, 1 << 30},
		{"sizes.frame_bytes_max", c.Sizes.FrameBytesMax, 64 << 10, 1 << 30},
		{"limits.result_bytes_max", int(c.Limits.ResultBytesMax), 1, 1 << 30},
		{"timing.clock_drift_ppm", int(c.Timing.ClockDriftPPM), 0, 100_000},
	} {
		if r.value < r.low || r.value > r.high {
			kind := settingsByName[r.key].kind
			found = append(found, c.wrong(r.key, "%s must be from %s to %s", c.shown(r.key), format(kind, &r.low), format(kind, &r.high)))
		}
	}
	return found
}

// clashes finds pairs of settings that cannot both hold.
func (c *Config) clashes() []error {
	var found []error
	for _, b := range c.bounds() {
		if b.need > b.room {
			found = append(found, c.wrong(b.small, "%s%s must fit into %s: raise the second or lower the first", c.shown(b.small), b.reason, c.shown(b.large)))
		}
	}
	low, high, beat := "timing.election_timeout_min", "timing.election_timeout_max", "timing.heartbeat_interval"
	if c.Timing.ElectionTimeoutMax <= c.Timing.ElectionTimeoutMin {
		found = append(found, c.wrong(high, "%s must be longer than %s, so that servers do not all campaign at once; twice as long is usual", c.shown(high), c.shown(low)))
	}
	if 3*c.Timing.HeartbeatInterval > c.Timing.ElectionTimeoutMin {
		found = append(found, c.wrong(beat, "%s must be at most a third of %s, so that a lost heartbeat or two start no election", c.shown(beat), c.shown(low)))
	}
	if join := "timing.join_timeout"; c.Timing.JoinTimeout < c.Timing.ElectionTimeoutMax {
		found = append(found, c.wrong(join, "%s must be at least %s: a server that is slow once is not gone", c.shown(join), c.shown(high)))
	}
	if kinds := []string{LogPebble, LogSegments, LogMemory}; !slices.Contains(kinds, c.Log.Kind) {
		found = append(found, c.wrong("log.kind", "there is no log %q%s", c.Log.Kind, didYouMean(c.Log.Kind, kinds)))
	}
	return found
}

// members finds what is wrong with the list of members.
func (c *Config) members() []error {
	var found []error
	if c.Cluster.IsZero() {
		found = append(found, c.wrong("cluster.id", "is missing; `oarlock init` writes a file with a new one"))
	}
	if len(c.Members) == 0 {
		found = append(found, c.wrong("member", "the file has no [[member]]"))
	}
	ids := make(map[raft.ServerID]bool)
	owners := make(map[string]string) // address: the key that has it
	for _, m := range c.Members {
		if m.ID == 0 || ids[m.ID] {
			found = append(found, c.wrong("member", "two members have the id %d, or it is 0: give each server its own", m.ID))
		}
		ids[m.ID] = true
		found = append(found, c.addresses(m, owners)...)
		if m.Data == "" {
			found = append(found, c.wrong(memberKey(m.ID, "data"), "member %d has no data directory", m.ID))
		}
	}
	return found
}

// addresses checks one member's. owners has those of the members before it.
func (c *Config) addresses(m Member, owners map[string]string) []error {
	var found []error
	for _, a := range []struct {
		name, value              string
		optional, wildcard, mine bool
	}{
		{name: "address", value: m.Address, mine: true},
		{name: "listen", value: m.Listen, optional: true, wildcard: true},
		{name: "client_address", value: m.ClientAddress, optional: true, wildcard: true, mine: true},
	} {
		key := memberKey(m.ID, a.name)
		if a.value == "" {
			if !a.optional {
				found = append(found, c.wrong(key, "member %d has no address", m.ID))
			}
			continue
		}
		host, err := transport.HostOf(a.value)
		switch ip := net.ParseIP(host); {
		case err != nil:
			found = append(found, c.wrong(key, "%v", err))
		case !a.wildcard && CheckAddress(a.value) != nil:
			found = append(found, c.wrong(key, "%q is not where other servers can reach it; put it under listen, and what they dial here", a.value))
		case a.mine && owners[a.value] != "" && host != "" && (ip == nil || !ip.IsUnspecified()):
			found = append(found, c.wrong(key, "%q is %s already", a.value, owners[a.value]))
		}
		if a.mine {
			owners[a.value] = c.shown(key)
		}
	}
	return found
}

// CheckAddress says why an address cannot be where other servers reach a member; nil: it can.
func CheckAddress(address string) error { return tcp.CheckAddress(address) }

// loopback reports whether only this machine can reach a listener.
func loopback(address string) bool {
	host, err := transport.HostOf(address)
	if err != nil {
		return true // named by addresses already
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// security finds listeners that would be open to a network without TLS, and TLS that is half configured.
func (c *Config) security() []error {
	t := c.TLS
	if t.Enabled() {
		return nil
	}
	if t != (TLS{}) {
		var found []error
		for _, f := range []struct{ name, value string }{{"tls.certificate", t.Certificate}, {"tls.key", t.Key}, {"tls.authorities", t.Authorities}} {
			if f.value == "" {
				found = append(found, c.wrong(f.name, "is missing: certificate, key and authorities come together"))
			}
		}
		return found
	}
	if c.Insecure {
		return nil
	}
	var found []error
	for _, m := range c.Members {
		listen := "listen"
		if m.Listen == "" {
			listen = "address"
		}
		for _, name := range []string{listen, "client_address"} {
			value, err := c.Value(memberKey(m.ID, name))
			if err == nil && value != "" && !loopback(value) {
				found = append(found, c.wrong(memberKey(m.ID, name), "%q is off the loopback and there is no TLS: fill in [tls], or set cluster.insecure = true if everybody on that network may read and write everything", value))
			}
		}
	}
	return found
}
