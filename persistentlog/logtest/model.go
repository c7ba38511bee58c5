package logtest

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// model is what a group must look like, kept as plainly as possible: one element an entry, nothing ever compacted. Where
// the log may choose, how much of a compacted front it keeps, the model has two borders.
type model struct {
	birth    raft.Birth
	hard     raft.HardState
	commit   raft.Index
	snapshot raft.SnapshotMeta

	base      raft.Index // index of entries[0]: 1, or after the installed snapshot
	baseChain uint64     // chain hash before it
	entries   []entry
	// The log's first index is at least firstMin, which it has shown since it was opened, and at most firstMax, which
	// calls of Compact have asked for.
	firstMin, firstMax raft.Index
}

type entry struct {
	term  raft.Term
	kind  raft.Kind
	time  int64
	body  []byte
	chain uint64 // after the entry
}

func newModel() *model { return &model{base: 1, firstMin: 1, firstMax: 1} }

func (m *model) next() raft.Index { return m.base + raft.Index(len(m.entries)) }

func (m *model) at(index raft.Index) entry { return m.entries[index-m.base] }

// chainBefore returns the chain hash before an index.
func (m *model) chainBefore(index raft.Index) uint64 {
	if index == m.base {
		return m.baseChain
	}
	return m.at(index - 1).chain
}

func (m *model) termAt(index raft.Index) raft.Term {
	switch {
	case index >= m.base && index < m.next():
		return m.at(index).term
	case index == m.snapshot.Index:
		return m.snapshot.Term
	}
	return 0
}

func (m *model) clone() *model {
	c := *m
	c.entries = slices.Clone(m.entries)
	return &c
}

func (m *model) apply(u persistentlog.Update) {
	if u.Hard != nil {
		m.hard = *u.Hard
	}
	if u.Birth != nil {
		m.birth = *u.Birth
	}
	if u.Installed {
		m.base, m.baseChain, m.entries = u.Snapshot.Index+1, u.Snapshot.Chain, nil
		m.firstMin, m.firstMax = m.base, m.base
		m.commit = min(m.commit, u.Snapshot.Index)
	}
	if u.Snapshot != nil {
		m.snapshot = *u.Snapshot
	}
	for _, b := range u.Blocks {
		m.entries = slices.Clip(m.entries[:b.First()-m.base])
		chain := b.Chain()
		for body := range b.Entries() {
			chain = raft.ChainNext(chain, b.Term(), b.Kind(), b.Time(), body)
			m.entries = append(m.entries, entry{b.Term(), b.Kind(), b.Time(), body, chain})
		}
	}
	if u.Commit != 0 {
		m.commit = u.Commit
	}
}

// reopened says that the log is another run's: what was compacted may be back.
func (m *model) reopened() { m.firstMin = m.base }

// compacted says that Compact(through) was called.
func (m *model) compacted(through raft.Index) { m.firstMax = max(m.firstMax, min(through+1, m.next())) }

// checkState compares what Load returned and learns where the log begins now.
func (m *model) checkState(got persistentlog.State) error {
	if got.First < m.firstMin || got.First > m.firstMax || got.First > got.Next {
		return fmt.Errorf("the log begins at %d and ends before %d, want a beginning from %d to %d", got.First, got.Next, m.firstMin, m.firstMax)
	}
	want := persistentlog.State{
		Birth: m.birth, Hard: m.hard, Commit: m.commit, First: got.First, Next: m.next(), Snapshot: m.snapshot,
		Time: m.snapshot.Time, Chain: m.snapshot.Chain,
	}
	for i := got.First; i < m.next(); i++ {
		e := m.at(i)
		if n := len(want.Trail); n == 0 || want.Trail[n-1].Term != e.term {
			want.Trail = append(want.Trail, raft.TermRun{First: i, Term: e.term})
		}
		if e.kind == raft.KindMembership {
			want.Memberships = append(want.Memberships, Block(0, i, e.term, e.kind, e.time, m.chainBefore(i), e.body))
		}
		want.Time, want.Chain = e.time, e.chain
	}
	if len(got.Memberships) != len(want.Memberships) {
		return fmt.Errorf("%d memberships in the log from %d to %d, want %d", len(got.Memberships), got.First, got.Next, len(want.Memberships))
	}
	for i, b := range got.Memberships {
		if err := m.checkBlocks([]raft.Block{b}, b.First(), want.Memberships[i].First()+1); err != nil || b.First() != want.Memberships[i].First() {
			return fmt.Errorf("membership at %d, want one at %d: %w", b.First(), want.Memberships[i].First(), err)
		}
	}
	got.Memberships, want.Memberships = nil, nil
	if len(got.Trail) == 0 {
		got.Trail = nil
	}
	m.firstMin = got.First
	return differ(got, want)
}

// differ names the first field in which two states are not the same.
func differ(got, want persistentlog.State) error {
	g, w := got.Birth, want.Birth
	if !g.Membership.Equal(w.Membership) || g.Limits != w.Limits || g.Complete != w.Complete {
		return fmt.Errorf("birth is %+v, want %+v", got.Birth, want.Birth)
	}
	if !got.Snapshot.Membership.Equal(want.Snapshot.Membership) {
		return fmt.Errorf("membership of the snapshot is %+v, want %+v", got.Snapshot.Membership, want.Snapshot.Membership)
	}
	got.Birth, want.Birth = raft.Birth{}, raft.Birth{}
	got.Snapshot.Membership, want.Snapshot.Membership = raft.Membership{}, raft.Membership{}
	fields, wanted := reflect.ValueOf(got), reflect.ValueOf(want)
	for i := range fields.NumField() {
		if !reflect.DeepEqual(fields.Field(i).Interface(), wanted.Field(i).Interface()) {
			return fmt.Errorf("%s is %+v, want %+v", fields.Type().Field(i).Name, fields.Field(i), wanted.Field(i))
		}
	}
	return nil
}

// checkBlocks compares blocks with the entries from an index on; none may reach past to.
func (m *model) checkBlocks(blocks []raft.Block, from, to raft.Index) error {
	next := from
	for _, b := range blocks {
		switch {
		case b.First() != next:
			return fmt.Errorf("a block begins at %d, want %d", b.First(), next)
		case b.Next() > to || b.Next() > m.next():
			return fmt.Errorf("a block covers %d to %d, past %d", b.First(), b.Next(), min(to, m.next()))
		case b.First() < m.base:
			return fmt.Errorf("a block begins at %d, and %d was dropped by an installed snapshot", b.First(), m.base-1)
		case b.Chain() != m.chainBefore(next):
			return fmt.Errorf("the chain hash before %d is %x, want %x", next, b.Chain(), m.chainBefore(next))
		}
		parsed, err := raft.ParseBlock(b.Bytes())
		if err != nil {
			return fmt.Errorf("the block from %d to %d cannot be read: %w", b.First(), b.Next(), err)
		}
		if parsed.Meta() != b.Meta() {
			return fmt.Errorf("the block says %+v and its bytes %+v", b.Meta(), parsed.Meta())
		}
		for body := range parsed.Entries() {
			want := m.at(next)
			if !bytes.Equal(body, want.body) || b.Term() != want.term || b.Kind() != want.kind || b.Time() != want.time {
				return fmt.Errorf("entry %d is %.40q (term %d, %s, time %d), want %.40q (term %d, %s, time %d)",
					next, body, b.Term(), b.Kind(), b.Time(), want.body, want.term, want.kind, want.time)
			}
			next++
		}
	}
	return nil
}
