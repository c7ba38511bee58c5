package sim

import (
	"slices"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// image is what the log of one replica holds, in terms and chain hashes: two images with the same hash behind an entry
// hold the same up to it. It is a value; copying it needs clone.
type image struct {
	hard     raft.HardState
	birth    bool
	base     raft.Index // entries from base+1 on are held; at base only its hash is known
	first    raft.Index // of the log itself, which may have been compacted beyond base
	terms    []raft.Term
	chains   []uint64 // terms[0], chains[0] are of base
	snapshot raft.SnapshotMeta
	commit   raft.Index
	members  []raft.MembershipAt // in the log, behind the one that it began with
}

func newImage() image {
	return image{first: 1, terms: []raft.Term{0}, chains: []uint64{0}}
}

func (m *image) next() raft.Index { return m.base + raft.Index(len(m.chains)) }

// at returns the term of an entry and the chain hash behind it.
func (m *image) at(i raft.Index) (term raft.Term, chain uint64, ok bool) {
	if i < m.base || i >= m.next() {
		return 0, 0, false
	}
	return m.terms[i-m.base], m.chains[i-m.base], true
}

// holds reports whether an image has an entry with a history, or a snapshot that covers it.
func (m *image) holds(i raft.Index, chain uint64) bool {
	_, got, ok := m.at(i)
	return ok && got == chain || m.snapshot.Index >= i
}

func (m *image) clone() image {
	c := *m
	c.terms = append([]raft.Term(nil), m.terms...)
	c.chains = append([]uint64(nil), m.chains...)
	c.members = slices.Clone(m.members)
	return c
}

// apply makes a change as a log does.
func (m *image) apply(o *groupOracle, u *persistentlog.Update) {
	if u.Hard != nil {
		m.hard = *u.Hard
	}
	if u.Birth != nil {
		m.birth = true
		if len(m.members) == 0 || m.latest().Index == 0 {
			m.members = []raft.MembershipAt{{Membership: u.Birth.Membership}}
		}
	}
	if u.Snapshot != nil {
		m.snapshot = *u.Snapshot
		if u.Installed {
			m.base, m.first = u.Snapshot.Index, u.Snapshot.Index+1
			m.terms, m.chains = []raft.Term{u.Snapshot.Term}, []uint64{u.Snapshot.Chain}
			m.commit = min(m.commit, u.Snapshot.Index)
			m.members = []raft.MembershipAt{{Index: u.Snapshot.MembershipIndex, Membership: u.Snapshot.Membership}}
		}
	}
	m.commit = max(m.commit, u.Commit)
	for i := range u.Blocks {
		b := &u.Blocks[i]
		if keep := b.First() - m.base; b.First() > m.base && int(keep) < len(m.chains) {
			m.terms, m.chains = m.terms[:keep], m.chains[:keep]
		}
		m.takeMembership(o, b)
		for _, chain := range o.chainsOf(b) {
			m.terms = append(m.terms, b.Term())
			m.chains = append(m.chains, chain)
		}
	}
}

// mirror is what an observer knows of one replica's log, crashes or not: what the replica asked to be saved, and what
// is durable.
type mirror struct {
	now     image // with everything that was asked for
	disk    image // with everything whose save has returned
	former  *image
	pending []persistentlog.Update // written, and not known to be durable
	relearn bool                   // the store has lost some of it, and nobody knows how much
	store   raft.StoreID
}

// chainsOf returns the chain hash behind each entry of a block. Blocks share their bytes between servers, so that each is
// read once.
func (o *groupOracle) chainsOf(b *raft.Block) []uint64 {
	key := &b.Bytes()[0]
	if chains, ok := o.blocks[key]; ok {
		return chains
	}
	chains := make([]uint64, 0, b.Meta().Count)
	chain := b.Chain()
	for body := range b.Entries() {
		chain = raft.ChainNext(chain, b.Term(), b.Kind(), b.Time(), body)
		chains = append(chains, chain)
	}
	o.blocks[key] = chains
	return chains
}
