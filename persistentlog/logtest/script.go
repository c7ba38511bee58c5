package logtest

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// script is one store, the log that is open on it, and what every group must look like.
type script struct {
	store  Store
	log    persistentlog.PersistentLog // nil while none is open
	groups map[raft.GroupID]*model     // every group that was saved and not destroyed

	// held are blocks that went in or came out, with a copy of how they were: nobody may change them afterwards.
	held      []heldBlock
	heldBytes int
}

type heldBlock struct {
	block raft.Block
	copy  []byte
}

const heldBytesMax = 32 << 20

func newScript(factory Factory) (*script, error) {
	store, err := factory()
	if err != nil {
		return nil, fmt.Errorf("the factory failed: %w", err)
	}
	s := &script{store: store, groups: make(map[raft.GroupID]*model)}
	return s, s.open()
}

func (s *script) open() error {
	log, err := s.store.Open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	s.log = log
	for _, m := range s.groups {
		m.reopened()
	}
	return nil
}

// end closes what is open and looks a last time at all bytes that went in and came out.
func (s *script) end(err error) error {
	if s.log != nil {
		if closed := s.log.Close(); closed != nil && err == nil {
			err = fmt.Errorf("close: %w", closed)
		}
		s.log = nil
	}
	return errors.Join(err, s.checkHeld())
}

func (s *script) reopen() error {
	err := s.log.Close()
	s.log = nil
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return s.open()
}

func (s *script) crash() error {
	crasher, ok := s.store.(Crasher)
	if !ok {
		return notOffered("crashes")
	}
	s.log = nil
	if err := crasher.Crash(); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	return s.open()
}

// reload gives the log every way to forget: it looks, closes, opens and looks again, and the same with a crash where the
// store offers one.
func (s *script) reload() error {
	if err := s.verify(); err != nil {
		return err
	}
	if err := s.reopen(); err != nil {
		return err
	}
	if err := s.verify(); err != nil {
		return fmt.Errorf("after it was closed and opened: %w", err)
	}
	switch err := s.crash(); {
	case errors.Is(err, errNotOffered):
		return nil
	case err != nil:
		return err
	}
	if err := s.verify(); err != nil {
		return fmt.Errorf("after a crash: %w", err)
	}
	return nil
}

// group returns the model of a group, an empty one if it was never saved.
func (s *script) group(id raft.GroupID) *model {
	if m, ok := s.groups[id]; ok {
		return m
	}
	return newModel()
}

// from returns a builder for blocks of a group from an index on.
func (s *script) from(id raft.GroupID, index raft.Index) *Builder {
	return &Builder{Group: id, Next: index, Chain: s.group(id).chainBefore(index)}
}

// end of a group's log: where appended blocks begin.
func (s *script) append(id raft.GroupID) *Builder { return s.from(id, s.group(id).next()) }

// taken returns the pointer to a snapshot of the group at an index of its log.
func (s *script) taken(id raft.GroupID, index raft.Index) *raft.SnapshotMeta {
	m := s.group(id)
	meta := snapshotMeta(id, index, m.termAt(index))
	meta.Chain, meta.Time = m.chainBefore(index+1), m.at(index).time
	return &meta
}

func snapshotMeta(id raft.GroupID, index raft.Index, term raft.Term) raft.SnapshotMeta {
	return raft.SnapshotMeta{
		Group: id, Index: index, Term: term, Time: timeAt(index, term), Chain: uint64(index)<<32 | uint64(term)<<8 | 1,
		Membership: membership(3), MembershipIndex: 1, Limits: raft.GroupLimits{SessionsMax: 7, SessionExpiryNanos: 3600e9},
		Size: int64(index%(1<<40)) * 100, Checksum: uint32(index) * 31,
	}
}

func membership(voters int) raft.Membership {
	var m raft.Membership
	for i := range voters {
		m.Voters = append(m.Voters, raft.Member{
			ID: raft.ServerID(i + 1), Store: raft.StoreID{byte(i + 1), 15: 9}, Address: fmt.Sprintf("10.0.0.%d:7000", i+1),
		})
	}
	return m
}

// save saves and expects it to succeed.
func (s *script) save(updates ...persistentlog.Update) error {
	for _, u := range updates {
		s.hold(u.Blocks)
	}
	if err := s.log.Save(updates); err != nil {
		return fmt.Errorf("save of %s: %w", describe(updates), err)
	}
	s.record(updates)
	return nil
}

func (s *script) record(updates []persistentlog.Update) {
	for _, u := range updates {
		m := s.group(u.Group)
		m.apply(u)
		s.groups[u.Group] = m
	}
}

func describe(updates []persistentlog.Update) string {
	if len(updates) > 3 {
		return fmt.Sprintf("%d updates", len(updates))
	}
	var text []byte
	for i, u := range updates {
		if i > 0 {
			text = append(text, "; "...)
		}
		text = fmt.Appendf(text, "group %d", u.Group)
		if n := len(u.Blocks); n > 0 {
			text = fmt.Appendf(text, " blocks %d to %d", u.Blocks[0].First(), u.Blocks[n-1].Next())
		}
		if u.Snapshot != nil {
			text = fmt.Appendf(text, " snapshot %d (installed %v)", u.Snapshot.Index, u.Installed)
		}
	}
	return string(text)
}

func (s *script) compact(id raft.GroupID, through raft.Index) error {
	if err := s.log.Compact(id, through); err != nil {
		return fmt.Errorf("compact of group %d through %d: %w", id, through, err)
	}
	if m, ok := s.groups[id]; ok {
		m.compacted(through)
	}
	return nil
}

func (s *script) destroy(id raft.GroupID) error {
	if err := s.log.Destroy(id); err != nil {
		return fmt.Errorf("destroy of group %d: %w", id, err)
	}
	delete(s.groups, id)
	return nil
}

// verify compares everything that the log says with the models.
func (s *script) verify() error {
	identity, err := s.log.Identity()
	if err != nil || identity != s.store.Identity() {
		return fmt.Errorf("identity is %+v (error %v), want %+v", identity, err, s.store.Identity()) //nolint:errorlint // a report of what came, not a cause
	}
	ids, err := s.log.Groups()
	if err != nil {
		return fmt.Errorf("groups: %w", err)
	}
	var want []raft.GroupID
	for id := range s.groups {
		want = append(want, id)
	}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		return fmt.Errorf("groups are %d, want %d", ids, want)
	}
	for _, id := range want {
		if err := s.verifyGroup(id, s.groups[id]); err != nil {
			return fmt.Errorf("group %d: %w", id, err)
		}
	}
	return nil
}

func (s *script) verifyGroup(id raft.GroupID, m *model) error {
	state, err := s.log.Load(id)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	if err := m.checkState(state); err != nil {
		return fmt.Errorf("load: %w", err)
	}
	s.hold(state.Memberships)
	first, next := m.firstMin, m.next()
	if first > 1 {
		if err := s.refused(id, first-1, next+1, persistentlog.ErrCompacted); err != nil {
			return err
		}
	}
	if err := s.refused(id, next, next+1, persistentlog.ErrUnavailable); err != nil {
		return err
	}
	if first == next {
		return nil
	}
	// The answer is also asked for in pieces, so that borders inside the range are seen.
	for from := first; from < next; {
		blocks, err := s.read(id, m, from, next, 1<<20)
		if err != nil {
			return err
		}
		from = blocks[len(blocks)-1].Next()
	}
	_, err = s.read(id, m, first, next, math.MaxInt)
	return err
}

func (s *script) refused(id raft.GroupID, from, to raft.Index, want error) error {
	blocks, err := s.log.Blocks(id, from, to, math.MaxInt)
	switch {
	case errors.Is(err, want):
		return nil
	case err == nil:
		return fmt.Errorf("blocks of group %d from %d are %d blocks, want error %q", id, from, len(blocks), want) //nolint:errorlint // the wanted one is no cause
	}
	return fmt.Errorf("blocks of group %d from %d, want error %q: %w", id, from, want, err) //nolint:errorlint // the wanted one is no cause
}

// read calls Blocks and checks the answer in every respect.
func (s *script) read(id raft.GroupID, m *model, from, to raft.Index, maxBytes int) ([]raft.Block, error) {
	blocks, err := s.log.Blocks(id, from, to, maxBytes)
	if err == nil {
		err = s.checkRead(id, m, blocks, from, to, maxBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("blocks of group %d from %d to %d, %d bytes: %w", id, from, to, maxBytes, err)
	}
	s.hold(blocks)
	return blocks, nil
}

func (s *script) checkRead(id raft.GroupID, m *model, blocks []raft.Block, from, to raft.Index, maxBytes int) error {
	if len(blocks) == 0 {
		return fmt.Errorf("none came, want at least one")
	}
	if err := m.checkBlocks(blocks, from, to); err != nil {
		return err
	}
	size := 0
	for i, b := range blocks {
		if b.Group() != id {
			return fmt.Errorf("a block of group %d", b.Group())
		}
		if i > 0 && size >= maxBytes {
			return fmt.Errorf("%d blocks came, and the first %d hold %d bytes already", len(blocks), i, size)
		}
		size += b.Size()
	}
	if end := blocks[len(blocks)-1].Next(); end < to && size < maxBytes {
		return fmt.Errorf("they end before %d with %d bytes: there is room for more", end, size)
	}
	return nil
}

// hold remembers how blocks look now.
func (s *script) hold(blocks []raft.Block) {
	for _, b := range blocks {
		if s.heldBytes+b.Size() <= heldBytesMax {
			s.held = append(s.held, heldBlock{b, bytes.Clone(b.Bytes())})
			s.heldBytes += b.Size()
		}
	}
}

func (s *script) checkHeld() error {
	for _, h := range s.held {
		if !bytes.Equal(h.block.Bytes(), h.copy) {
			return fmt.Errorf("the bytes of the block of group %d from %d to %d were changed after it was handed over", h.block.Group(), h.block.First(), h.block.Next())
		}
	}
	return nil
}
