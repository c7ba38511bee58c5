package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// entry is one entry as the tests keep it.
type entry struct {
	term  Term
	kind  Kind
	time  int64
	body  []byte
	chain uint64 // the chain hash after it
}

// logbook is a log as the tests keep it, entry by entry, with the chain hash after each.
type logbook struct {
	first   Index
	base    uint64 // the chain hash before first
	entries []entry
	members []MembershipAt // all membership entries, also those that were compacted since
}

func (l *logbook) next() Index { return l.first + Index(len(l.entries)) }

func (l *logbook) at(i Index) (entry, bool) {
	if i < l.first || i >= l.next() {
		return entry{}, false
	}
	return l.entries[i-l.first], true
}

// chainAfter returns the chain hash after index i, where it is known.
func (l *logbook) chainAfter(i Index) (uint64, bool) {
	if i+1 == l.first {
		return l.base, true
	}
	e, ok := l.at(i)
	return e.chain, ok
}

// put replaces everything from index from on.
func (l *logbook) put(from Index, entries []entry) {
	l.entries = append(l.entries[:from-l.first], entries...)
	for len(l.members) > 0 && l.members[len(l.members)-1].Index >= from {
		l.members = l.members[:len(l.members)-1]
	}
	for k, e := range entries {
		if e.kind == KindMembership {
			l.members = append(l.members, MembershipAt{Index: from + Index(k), Membership: decodeMembership(e.body)})
		}
	}
}

func (l *logbook) compact(through Index) {
	if through >= l.first && through < l.next() {
		l.base = l.entries[through-l.first].chain
		l.entries = l.entries[through+1-l.first:]
		l.first = through + 1
	}
}

// reset makes the log empty after a snapshot.
func (l *logbook) reset(meta SnapshotMeta) {
	*l = logbook{first: meta.Index + 1, base: meta.Chain}
}

// blocks encodes the entries from index from up to, not including, index to; each run of commands of one turn is a block.
func (l *logbook) blocks(from, to Index) []Block {
	var blocks []Block
	for from < to {
		head := l.entries[from-l.first]
		chain, _ := l.chainAfter(from - 1)
		meta := BlockMeta{Group: DefaultGroup, First: from, Term: head.term, Kind: head.kind, Time: head.time, Chain: chain}
		buf := make([]byte, BlockHeaderSize, BlockHeaderSize+32)
		for from < to {
			e := l.entries[from-l.first]
			if e.term != head.term || e.kind != head.kind || e.time != head.time || meta.Count > 0 && e.kind != KindCommand {
				break
			}
			buf = AppendEntry(buf, e.body)
			meta.Count++
			from++
		}
		blocks = append(blocks, NewBlock(meta, buf))
	}
	return blocks
}

// entriesOf takes a block apart.
func entriesOf(b Block) []entry {
	chain := b.Chain()
	entries := make([]entry, 0, b.Meta().Count)
	for body := range b.Entries() {
		chain = ChainNext(chain, b.Term(), b.Kind(), b.Time(), body)
		entries = append(entries, entry{term: b.Term(), kind: b.Kind(), time: b.Time(), body: body, chain: chain})
	}
	return entries
}

func (l *logbook) trail() []TermRun {
	var runs []TermRun
	for k, e := range l.entries {
		if len(runs) == 0 || runs[len(runs)-1].Term != e.term {
			runs = append(runs, TermRun{First: l.first + Index(k), Term: e.term})
		}
	}
	return runs
}

// memberships returns the membership entries that are still in the log.
func (l *logbook) memberships() []MembershipAt {
	k := 0
	for k < len(l.members) && l.members[k].Index < l.first {
		k++
	}
	return slices.Clone(l.members[k:])
}

func (l *logbook) clone() logbook {
	c := *l
	c.entries, c.members = slices.Clone(l.entries), slices.Clone(l.members)
	return c
}

// disk is what a crash of one server leaves: everything whose save was completed.
type disk struct {
	store    StoreID
	birth    Birth
	hard     HardState
	commit   Index
	log      logbook
	snapshot SnapshotMeta
	older    SnapshotMeta // the snapshot before it, kept to fall back to
}

// diskUpdate is one save, with its blocks taken apart.
type diskUpdate struct {
	save    Save
	first   Index
	entries []entry
}

func (d *disk) save(u diskUpdate) {
	if u.save.Hard != nil {
		d.hard = *u.save.Hard
	}
	if u.save.Birth != nil {
		d.birth = *u.save.Birth
	}
	if u.save.Snapshot != nil {
		d.older, d.snapshot = d.snapshot, *u.save.Snapshot
		if u.save.Installed {
			d.older = SnapshotMeta{}
			d.log.reset(d.snapshot)
		}
	}
	if len(u.entries) > 0 {
		d.log.put(u.first, u.entries)
	}
	d.commit = max(d.commit, u.save.Commit)
}

// state is what a Node is started from.
func (d *disk) state() State {
	s := State{
		Birth: d.birth, Hard: d.hard, Commit: d.commit, First: d.log.first, Next: d.log.next(), Trail: d.log.trail(),
		Memberships: d.log.memberships(), Snapshot: d.snapshot, Time: d.snapshot.Time,
	}
	if e, ok := d.log.at(d.log.next() - 1); ok {
		s.Time = e.time
	}
	return s
}

// Memberships travel in tests as text: ids of voters, of outgoing voters and of learners, each with its store's number, and, where a
// change is open, of those who are wanted.
func encodeMembership(m Membership) []byte {
	list := func(members []Member) string {
		var words []string
		for _, v := range members {
			words = append(words, fmt.Sprintf("%d@%d", v.ID, v.Store[1]))
		}
		return strings.Join(words, ",")
	}
	text := list(m.Voters) + "/" + list(m.Outgoing) + "/" + list(m.Learners)
	if m.Changing() {
		text += "/" + list(m.WantedVoters) + "/" + list(m.WantedLearners)
	}
	return []byte(text)
}

func decodeMembership(body []byte) Membership {
	list := func(s string) (members []Member) {
		for _, word := range strings.Split(s, ",") {
			id, life, ok := strings.Cut(word, "@")
			if !ok {
				continue
			}
			members = append(members, Member{ID: ServerID(atoi(id)), Store: storeOf(ServerID(atoi(id)), atoi(life))})
		}
		slices.SortFunc(members, func(a, b Member) int { return compareIDs(a.ID, b.ID) })
		return members
	}
	parts := strings.Split(string(body)+"////", "/")
	m := Membership{
		Voters: list(parts[0]), Outgoing: list(parts[1]), Learners: list(parts[2]), WantedVoters: list(parts[3]), WantedLearners: list(parts[4]),
	}
	if m.Joint() && !m.Changing() { // a script need not say what follows from the voters
		m.WantedVoters = slices.Clone(m.Voters)
	}
	return m
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic("not a number in a test's script: " + s)
	}
	return n
}

// storeOf is the store that a server has in its life'th life; the first is 1.
func storeOf(id ServerID, life int) StoreID { return StoreID{byte(id), byte(life)} }
