package raft

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzStep gives a Node of any role messages that are well formed and otherwise anything, between inputs that a server
// makes. Peers may not be trusted that much, but a bug in one must not break another: no panic, no Fault, and a log that
// its own server can always load again, whose committed entries never change.
func FuzzStep(f *testing.F) {
	for seed := uint64(0); seed < 24; seed++ {
		f.Add(randomScript(seed, 300))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		newHostile(t, script).play()
	})
}

// TestHostileMessagesBreakNothing is FuzzStep without a fuzzer: many random scripts.
func TestHostileMessagesBreakNothing(t *testing.T) {
	roles := map[Role]int{}
	count := uint64(1500)
	if testing.Short() {
		count = 200
	}
	for seed := uint64(0); seed < count; seed++ {
		h := newHostile(t, randomScript(1000+seed, 600))
		h.play()
		for r, n := range h.roles {
			roles[r] += n
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for r := RoleFollower; r <= RoleLeader; r++ {
		require.Positive(t, roles[r], "no script made a %s", r)
	}
}

func randomScript(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 77))
	script := make([]byte, size)
	for k := range script {
		script[k] = byte(rng.Uint32())
	}
	return script
}

// hostile drives one Node by a script of bytes and keeps what its saves leave.
type hostile struct {
	t      testing.TB
	script []byte
	n      *Node
	now    time.Duration
	terms  []Term // of the log, from index first on
	first  Index
	disk   State // what its saves add up to
	fixed  map[Index]Term
	fills  []Fill
	saves  []SaveSeq
	wanted []Install
	roles  map[Role]int
}

func newHostile(t testing.TB, script []byte) *hostile {
	h := &hostile{t: t, script: script, first: 1, fixed: map[Index]Term{}, roles: map[Role]int{}}
	m := Membership{}
	for id := ServerID(1); int(id) <= 1+h.byte()%4; id++ {
		m.Voters = append(m.Voters, Member{ID: id, Store: storeOf(id, 1)})
	}
	term := Term(0)
	for range h.byte() % 8 {
		term += Term(h.byte() % 2)
		h.terms = append(h.terms, max(term, 1))
	}
	h.disk = State{Birth: Birth{Membership: m, Complete: true}, Hard: HardState{Term: term + 1}, First: 1, Next: 1 + Index(len(h.terms))}
	h.disk.Commit = Index(h.byte() % (len(h.terms) + 1))
	h.restart()
	return h
}

func (h *hostile) restart() {
	h.disk.First, h.disk.Next, h.disk.Trail = h.first, h.first+Index(len(h.terms)), nil
	for k, term := range h.terms {
		if k == 0 || h.terms[k-1] != term {
			h.disk.Trail = append(h.disk.Trail, TermRun{First: h.first + Index(k), Term: term})
		}
	}
	n, err := NewNode(Config{Group: DefaultGroup, ID: 1, Store: storeOf(1, 1), UncommittedBytesMax: 20000, InflightBytesMax: 5000, MessageBytesMax: 1000}, h.disk, h.now)
	require.NoError(h.t, err, "its own log, %+v", h.disk)
	h.n = n
	for i := range h.fixed {
		if i > n.commit {
			delete(h.fixed, i) // what it only knew to be committed it does not know any more
		}
	}
	h.fills, h.saves, h.wanted = nil, nil, nil
	h.turn()
}

func (h *hostile) byte() int {
	if len(h.script) == 0 {
		return 0
	}
	b := h.script[0]
	h.script = h.script[1:]
	return int(b)
}

func (h *hostile) play() {
	for len(h.script) > 0 && !h.t.Failed() {
		h.input()
		if h.byte()%4 != 0 {
			h.turn()
		}
	}
	h.turn()
}

func (h *hostile) input() {
	n := h.n
	switch h.byte() % 20 {
	case 16:
		h.snapshot()
	case 17:
		// A server compacts what the durable pointer covers.
		if through := Index(h.byte() % 8); through <= h.disk.Snapshot.Index && len(h.saves) == 0 && through >= h.first {
			h.terms = h.terms[min(int(through+1-h.first), len(h.terms)):]
			h.first = through + 1
			n.Compacted(h.now, through)
		}
	case 18:
		n.NeedSnapshot(h.now, h.byte()%2 == 0)
	case 19:
		if len(h.wanted) > 0 {
			n.InstallFailed(h.now, h.wanted[0].Snapshot, len(h.wanted)%2 == 0)
		}
	case 0:
		h.now += time.Duration(h.byte()) * time.Millisecond * 5
		n.Tick(h.now)
	case 1:
		_, err := n.Propose(h.now, KindCommand, uint32(1+h.byte()%4), 80)
		if err != nil && n.role == RoleLeader {
			require.ErrorIs(h.t, err, ErrUncommittedFull)
		}
	case 2:
		_ = n.ReadIndex(h.now, 1)
	case 3:
		if len(h.saves) > 0 {
			n.Saved(h.now, h.saves[0])
			h.saves = h.saves[1:]
		}
	case 4:
		if n.commit > n.applied {
			n.Applied(h.now, n.commit, int64(h.byte())*int64(time.Second), h.byte()%2 == 0)
		}
	case 5:
		if len(h.fills) > 0 {
			fill := h.fills[0]
			h.fills = h.fills[1:]
			n.Filled(h.now, fill.To, fill.ToStore, fill.Seq, FillResult(1+h.byte()%2), fill.First+Index(h.byte()%4), 80)
		}
	case 6:
		id := ServerID(h.byte() % 6)
		n.Unreachable(h.now, id, storeOf(id, 1))
		n.Fetched(h.now, id, storeOf(id, 1), n.snapshot, int64(n.commit))
	case 7:
		if len(h.wanted) > 0 {
			n.Installed(h.now, h.wanted[len(h.wanted)-1].Snapshot)
			h.wanted = h.wanted[:len(h.wanted)-1]
		}
	case 8:
		if h.byte()%4 == 0 {
			h.turn()
			h.restart()
		}
	default:
		m := h.message()
		n.Step(h.now, &m)
	}
}

// snapshot is one that the server took of what it has applied and saved.
func (h *hostile) snapshot() {
	n := h.n
	if n.applied <= n.snapshot.Index || n.applied >= n.saves.durable {
		return
	}
	term, ok := n.trail.termAt(n.applied)
	require.True(h.t, ok)
	at := n.memberships[0]
	for _, m := range n.memberships {
		if m.Index <= n.applied {
			at = m
		}
	}
	n.Snapshotted(h.now, SnapshotMeta{
		Group: DefaultGroup, Index: n.applied, Term: term, Membership: at.Membership, MembershipIndex: at.Index,
	})
}

// number draws a value near what matters, or at the edge of its type.
func (h *hostile) number(near ...uint64) uint64 {
	edges := []uint64{0, 1, 2, 3, uint64(indexMax) - 1, uint64(indexMax), uint64(indexMax) + 1, math.MaxUint64 - 1, math.MaxUint64}
	if b := h.byte(); b < 200 {
		return near[b%len(near)] + uint64(b/64) - 1
	}
	return edges[h.byte()%len(edges)]
}

func (h *hostile) term() Term {
	n := h.n
	if h.byte() < 240 {
		return n.hard.Term + Term(h.byte()%3) - Term(h.byte()%2)
	}
	return Term(h.number(uint64(n.hard.Term)))
}

func (h *hostile) index() Index {
	n := h.n
	return Index(h.number(uint64(n.commit), uint64(n.trail.last()), uint64(n.trail.first), uint64(n.snapshot.Index)))
}

func (h *hostile) message() Message {
	m := Message{
		Type: MessageType(h.byte()%16 + 1), Group: DefaultGroup, From: ServerID(1 + h.byte()%6), To: 1, FromRun: RunID(h.byte() % 3),
		Term: h.term(), LastIndex: h.index(), LastTerm: h.term(), Reject: h.byte()%3 == 0, Forced: h.byte()%4 == 0,
		Commit: h.index(), Match: h.index(), HintIndex: h.index(), HintTerm: h.term(),
		Round: Round(h.number(uint64(h.n.lead.round))), Confirmed: Round(h.byte()), WantSnapshot: h.byte()%4 == 0,
	}
	m.FromStore = storeOf(m.From, 1+h.byte()%8/7)
	switch m.Type {
	case MessageAppendRequest, MessageHeartbeatRequest:
		m.PrevIndex = h.index()
		m.PrevTerm, _ = h.n.trail.termAt(m.PrevIndex)
		if h.byte()%4 == 0 {
			m.PrevTerm = h.term()
		}
		m.First, m.Next = m.PrevIndex+1, m.PrevIndex+1
		if m.Type == MessageAppendRequest {
			h.blocks(&m)
		}
	case MessageAppendResponse:
		m.PrevIndex = h.index()
	case MessageSnapshotOffer:
		m.Snapshot = SnapshotMeta{
			Group: DefaultGroup, Index: h.index(), Term: h.term(), Membership: h.disk.Birth.Membership,
			MembershipIndex: Index(h.byte() % 3), Time: int64(h.byte()),
		}
	case MessageBirthRequest, MessageBirthResponse:
		if h.byte()%2 == 0 {
			m.Birth = Birth{Membership: h.disk.Birth.Membership, Complete: h.byte()%2 == 0, Limits: GroupLimits{SessionsMax: uint32(h.byte() % 2)}}
		}
	}
	return m
}

func (h *hostile) blocks(m *Message) {
	term := m.PrevTerm
	for range h.byte() % 4 {
		term += Term(h.byte() % 2)
		meta := BlockMeta{
			Group: DefaultGroup, First: m.Next, Count: 1 + uint32(h.byte()%3), Term: max(term, 1), Kind: KindCommand, Time: int64(h.byte()),
		}
		if h.byte()%8 == 0 {
			meta.Kind, meta.Count = KindMembership, 1
			members := Membership{Voters: h.disk.Birth.Membership.Voters[:1+h.byte()%len(h.disk.Birth.Membership.Voters)]}
			m.Memberships = append(m.Memberships, MembershipAt{Index: meta.First, Membership: members})
		}
		buf := make([]byte, BlockHeaderSize)
		for range meta.Count {
			buf = AppendEntry(buf, []byte("x"))
		}
		m.Blocks = append(m.Blocks, NewBlock(meta, buf))
		m.Next += Index(meta.Count)
	}
}

// turn ends a turn, keeps what is saved and checks the log.
func (h *hostile) turn() {
	a := h.n.Actions()
	require.NoError(h.t, a.Fault)
	h.roles[a.Role]++
	if a.Save.Seq > 0 {
		h.saves = append(h.saves, a.Save.Seq)
		h.save(&a.Save)
	}
	h.fills = append(h.fills, a.Fills...)
	if !a.Install.Snapshot.IsZero() {
		h.wanted = append(h.wanted, a.Install)
	}
	h.check()
}

func (h *hostile) save(s *Save) {
	if s.Hard != nil {
		h.disk.Hard = *s.Hard
	}
	if s.Birth != nil {
		h.disk.Birth = *s.Birth
	}
	if s.Snapshot != nil {
		h.disk.Snapshot = *s.Snapshot
		if s.Installed {
			h.first, h.terms = s.Snapshot.Index+1, nil
			h.disk.Memberships = nil
		}
	}
	for _, b := range s.Blocks {
		if b.First() < h.first || b.First() > h.first+Index(len(h.terms)) {
			require.Fail(h.t, fmt.Sprintf("a save continues a log of [%d,%d) at %d", h.first, h.first+Index(len(h.terms)), b.First()))
		}
		h.terms = h.terms[:b.First()-h.first]
		for range b.Meta().Count {
			h.terms = append(h.terms, b.Term())
		}
	}
	h.disk.Commit = max(h.disk.Commit, s.Commit)
	h.disk.Memberships = nil
	for _, at := range h.n.memberships {
		if at.Index >= h.first {
			h.disk.Memberships = append(h.disk.Memberships, at)
		}
	}
}

func (h *hostile) check() {
	n := h.n
	require.Equal(h.t, n.trail.next, h.first+Index(len(h.terms)))
	require.LessOrEqual(h.t, n.commit, n.trail.last())
	for k, term := range h.terms {
		i := h.first + Index(k)
		if own, ok := n.trail.termAt(i); !ok || own != term {
			require.Fail(h.t, fmt.Sprintf("index %d has term %d, its save has %d", i, own, term))
		}
		if k > 0 && h.terms[k-1] > term {
			require.Fail(h.t, fmt.Sprintf("terms go back at %d", i))
		}
		if was, ok := h.fixed[i]; ok && was != term {
			require.Fail(h.t, fmt.Sprintf("index %d was committed in term %d and has term %d", i, was, term))
		}
		if i <= n.commit {
			h.fixed[i] = term
		}
	}
	require.LessOrEqual(h.t, n.trail.lastTerm(), n.hard.Term)
	require.GreaterOrEqual(h.t, n.Deadline(), h.now-time.Hour)
}
