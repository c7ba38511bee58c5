package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/server"
	"github.com/oarlock/oarlock/statemachine/kv"
	"github.com/oarlock/oarlock/transport"
	"github.com/oarlock/oarlock/transport/tcp"
)

// startTimeout is ample for three handshakes, a birth, an election and a replay.
const startTimeout = 60 * time.Second

// findings are what three servers in this process said of the stores that they were started on.
type findings struct {
	bytesRead uint64 // of log, from Open to the first linearizable read, the most that one server needed
	keys      int
}

// check starts servers on the stores and reads through them. It leaves traces: a term, a no-op.
func (h history) check(c *config.Config) (found findings, err error) {
	var members []*member
	defer func() {
		for _, m := range members {
			err = errors.Join(err, m.close())
		}
	}()
	for _, m := range c.Members {
		opened := &member{}
		members = append(members, opened)
		if err := opened.reopen(c, m); err != nil {
			return found, fmt.Errorf("server %d: %w", m.ID, err)
		}
	}
	key, want := h.last()
	leader, value, err := readAnywhere(members, kv.Get(key))
	if err != nil {
		return found, err
	}
	for _, m := range members {
		_, read := m.counters()
		found.bytesRead = max(found.bytesRead, read)
	}
	got, ok, err := kv.DecodeGet(value)
	if err != nil {
		return found, err
	}
	if !ok || !bytes.Equal(got, want) {
		return found, fmt.Errorf("%s holds %q (there: %t), and %q was written", key, got, ok, want)
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if value, err = leader.server.Query(ctx, raft.DefaultGroup, kv.Count(nil, nil)); err != nil {
		return found, err
	}
	count, err := kv.DecodeCount(value)
	if found.keys = count; err == nil && found.keys != min(h.keys, h.entries) {
		err = fmt.Errorf("%d keys, and %d were written", found.keys, min(h.keys, h.entries))
	}
	return found, err
}

// readAnywhere asks the members in turn until one leads and answers.
func readAnywhere(members []*member, query []byte) (*member, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	pause := time.NewTicker(5 * time.Millisecond)
	defer pause.Stop()
	var last error
	for {
		for _, m := range members {
			var value []byte
			if value, last = m.server.Query(ctx, raft.DefaultGroup, query); last == nil {
				return m, value, nil
			}
			if err := m.server.Err(); err != nil {
				return nil, nil, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("no leader after %s: %w", startTimeout, last)
		case <-pause.C:
		}
	}
}

// reopen starts a server on what is there.
func (m *member) reopen(c *config.Config, of config.Member) (err error) {
	if err = m.openPebble(logDir(c, of)); err != nil {
		return err
	}
	if m.files, err = persistentlog.OpenFiles(snapshotDir(c, of), persistentlog.FilesOptions{}); err != nil {
		return err
	}
	l, err := net.Listen("tcp", of.Address)
	if err != nil {
		return err
	}
	return m.serve(l, server.GroupOptions{
		ID: raft.DefaultGroup, StateMachine: kv.New(), Founders: c.Founders(of), Limits: c.Limits,
		SnapshotLogBytes: c.Snapshots.LogBytes, SnapshotKeepBytes: c.Snapshots.KeepBytes,
	})
}

// serve makes a server of a log, files and a listener.
func (m *member) serve(l net.Listener, group server.GroupOptions) error {
	identity, err := m.log.Identity()
	if err != nil {
		return err
	}
	local := transport.Local{Cluster: identity.Cluster, Server: identity.Server, Store: identity.Store, Run: raft.RunID(rand.Uint64())}
	if m.transport, err = tcp.New(tcp.Options{Local: local, Listener: l}); err != nil {
		return err
	}
	m.server, err = server.Open(server.Options{Log: m.log, Snapshots: m.files, Transport: m.transport, Group: group})
	return err
}

// close ends a member that may be half open. An error is a reason to distrust what was measured.
func (m *member) close() error {
	if m.server != nil {
		return errors.Join(m.server.Err(), m.server.Close(), m.files.Close())
	}
	// Parts that never came to belong to a server.
	var errs []error
	if m.transport != nil {
		errs = append(errs, m.transport.Close())
	}
	if m.files != nil {
		errs = append(errs, m.files.Close())
	}
	if m.log != nil {
		errs = append(errs, m.log.Close())
	}
	return errors.Join(errs...)
}
