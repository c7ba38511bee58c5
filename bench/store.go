package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oarlock/oarlock/config"
	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/persistentlog/pebblelog"
	"github.com/oarlock/oarlock/raft"
	"github.com/oarlock/oarlock/statemachine"
	"github.com/oarlock/oarlock/statemachine/kv"
)

// history is what three servers are to have done before they start again: one term with its no-op, then commands. It is
// written straight into their stores, as a cluster would have left it; check.go has servers say what they make of it.
type history struct {
	entries int // commands
	bytes   int // of each
	keys    int // that they write in turn
	block   int // commands in a block
	behind  int // commands after the snapshot; negative: there is no snapshot
}

// The no-op stands first.
func (h history) next() raft.Index { return raft.Index(h.entries) + 2 }

// snapshotAt is where the snapshot stands; 0 if there is none.
func (h history) snapshotAt() raft.Index {
	if h.behind < 0 {
		return 0
	}
	return h.next() - 1 - raft.Index(h.behind)
}

// key is what command i writes to. The keys come in another order than that of the machine's tree.
func (h history) key(i int) []byte {
	return fmt.Appendf(nil, "key-%08d", i*1_000_003%h.keys)
}

// command is a put of exactly h.bytes bytes.
func (h history) command(i int) []byte {
	key := h.key(i)
	return kv.Put(key, h.value(i, len(kv.Put(key, nil))))
}

func (h history) value(i, overhead int) []byte {
	value := fmt.Appendf(nil, "%d:", i)
	for len(value)+overhead < h.bytes {
		value = append(value, byte('a'+(i+len(value))%26))
	}
	return value
}

// last is the key of the last command and the value that must be read from it.
func (h history) last() (key, value []byte) {
	i := h.entries - 1
	key = h.key(i)
	return key, h.value(i, len(kv.Put(key, nil)))
}

// store is one server's log and snapshots, open for writing.
type store struct {
	log   *pebblelog.Log
	files *persistentlog.Files
}

// Where config keeps a member's parts.
func logDir(c *config.Config, m config.Member) string { return filepath.Join(c.DataDir(m), "log") }
func snapshotDir(c *config.Config, m config.Member) string {
	return filepath.Join(c.DataDir(m), "snapshots")
}

// write formats the stores of all members of c and fills them.
func (h history) write(c *config.Config) (err error) {
	birth := raft.Birth{Limits: c.Limits, Complete: true}
	var stores []store
	defer func() {
		for _, s := range stores {
			err = errors.Join(err, s.log.Close(), s.files.Close())
		}
	}()
	for _, m := range c.Members {
		if err := os.MkdirAll(filepath.Dir(c.DataDir(m)), 0o700); err != nil {
			return err
		}
		if err := c.Format(m.ID); err != nil {
			return err
		}
		var s store
		if s.log, err = pebblelog.Open(logDir(c, m), pebblelog.Options{}); err != nil {
			return err
		}
		if s.files, err = persistentlog.OpenFiles(snapshotDir(c, m), persistentlog.FilesOptions{}); err != nil {
			return errors.Join(err, s.log.Close())
		}
		stores = append(stores, s)
		identity, err := s.log.Identity()
		if err != nil {
			return err
		}
		birth.Membership.Voters = append(birth.Membership.Voters, raft.Member{ID: m.ID, Address: m.Address, Store: identity.Store})
	}
	w := writer{h: h, stores: stores, birth: birth, machine: kv.New(), next: 1}
	return w.write()
}

// writer lays the history into all stores at once: they share the blocks.
type writer struct {
	h       history
	stores  []store
	birth   raft.Birth
	machine *kv.Machine
	next    raft.Index
	time    int64
	chain   uint64

	blocks []raft.Block
	bytes  int
	commit raft.Index
	meta   *raft.SnapshotMeta // made and not yet pointed to
}

const (
	historyTerm = 1
	blockNanos  = 1_000_000 // of cluster time between two blocks
	saveBytes   = 4 << 20
)

func (w *writer) write() error {
	first := persistentlog.Update{
		Group: raft.DefaultGroup, Birth: &w.birth, Hard: &raft.HardState{Term: historyTerm, Vote: 1},
		Blocks: []raft.Block{w.block(raft.KindNoOp, [][]byte{nil})},
	}
	if err := w.save(first); err != nil {
		return err
	}
	var bodies [][]byte
	for i := range w.h.entries {
		bodies = append(bodies, wire.AppendCommand(nil, wire.Command{Command: w.h.command(i)}))
		if len(bodies) < w.h.block && i+1 < w.h.entries {
			continue
		}
		if err := w.add(bodies); err != nil {
			return err
		}
		bodies = bodies[:0]
	}
	return w.flush()
}

// block encodes entries in front of which the writer stands, and moves behind them.
func (w *writer) block(kind raft.Kind, bodies [][]byte) raft.Block {
	buf := make([]byte, raft.BlockHeaderSize, raft.BlockHeaderSize+len(bodies)*(w.h.bytes+16))
	for _, body := range bodies {
		buf = raft.AppendEntry(buf, body)
	}
	meta := raft.BlockMeta{
		Group: raft.DefaultGroup, First: w.next, Count: uint32(len(bodies)), Term: historyTerm, Kind: kind, Time: w.time, Chain: w.chain,
	}
	b := raft.NewBlock(meta, buf)
	w.next, w.time, w.chain = b.Next(), w.time+blockNanos, b.ChainAfter()
	return b
}

func (w *writer) add(bodies [][]byte) error {
	b := w.block(raft.KindCommand, bodies)
	if at := w.h.snapshotAt(); b.First() <= at {
		if err := w.apply(b, min(at+1, b.Next())); err != nil {
			return err
		}
		if b.Next() > at {
			if err := w.snapshot(b.Clip(b.First(), at+1)); err != nil {
				return err
			}
		}
	}
	w.blocks = append(w.blocks, b)
	if w.bytes += b.Size(); w.bytes >= saveBytes {
		return w.flush()
	}
	return nil
}

// apply has the machine execute a block's entries below to.
func (w *writer) apply(b raft.Block, to raft.Index) error {
	i := b.First()
	for body := range b.Entries() {
		if i >= to {
			return nil
		}
		c, err := wire.DecodeCommand(body)
		if err != nil {
			return err
		}
		w.machine.Apply(statemachine.Entry{Index: uint64(i), Term: historyTerm, Time: b.Time(), Command: c.Command})
		i++
	}
	return nil
}

// snapshot writes the machine's state, which stands after the last entry of b, as a server would.
func (w *writer) snapshot(b raft.Block) error {
	meta := raft.SnapshotMeta{
		Group: raft.DefaultGroup, Index: b.Next() - 1, Term: historyTerm, Time: b.Time(), Chain: b.ChainAfter(),
		Membership: w.birth.Membership, Limits: w.birth.Limits,
	}
	applied := wire.AppendApplied(nil, wire.Applied{
		Index: uint64(meta.Index), Term: historyTerm, Time: meta.Time, Chain: meta.Chain,
		Membership: wire.AppendMembership(nil, meta.Membership),
	})
	for _, s := range w.stores {
		state, err := w.machine.Snapshot()
		if err != nil {
			return err
		}
		file, err := s.files.Create(meta)
		if err != nil {
			return err
		}
		if _, err = file.Write(raft.AppendEntry(nil, applied)); err == nil {
			_, err = state.WriteTo(file)
		}
		if err = errors.Join(err, state.Close()); err != nil {
			return errors.Join(err, file.Abort(false))
		}
		written, err := file.Commit()
		if err != nil {
			return err
		}
		w.meta = &written
	}
	return nil
}

// flush saves what has gathered and then the pointer to a snapshot that was made meanwhile. The commit index lags a save
// behind, as a leader's does.
func (w *writer) flush() error {
	if len(w.blocks) > 0 {
		u := persistentlog.Update{Group: raft.DefaultGroup, Blocks: w.blocks, Commit: w.commit}
		if err := w.save(u); err != nil {
			return err
		}
		w.commit, w.blocks, w.bytes = w.next-1, nil, 0
	}
	if w.meta == nil {
		return nil
	}
	u := persistentlog.Update{Group: raft.DefaultGroup, Snapshot: w.meta, Commit: w.commit}
	w.meta = nil
	return w.save(u)
}

// save writes into all stores beside one another.
func (w *writer) save(u persistentlog.Update) error {
	errs := make(chan error, len(w.stores))
	for _, s := range w.stores {
		go func() { errs <- s.log.Save([]persistentlog.Update{u}) }()
	}
	var all error
	for range w.stores {
		all = errors.Join(all, <-errs)
	}
	return all
}
