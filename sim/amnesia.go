package sim

import (
	"slices"
	"time"

	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// What happens to a store falls in two classes. Damage that the store itself finds (a wiped store is a stranger, rot breaks a
// checksum, a log whose end is gone is behind its witness) silences its server, and a majority of the others goes on: of that a run may
// have as much as leaves a majority. A store that has forgotten and does not know it (an older copy, a disk that lied) votes and
// acknowledges as if it had never promised more, and no majority protects from that: see mayForget.

// harmStore destroys part of what a store has promised to keep.
func (h *host) harmStore(f *Fault) bool {
	w, disk := h.w, h.store.disk
	running := h.up && !h.repairing
	switch f.Kind {
	case FaultWipe:
		if h.onlyMemory() {
			return false
		}
		h.crash(f.For)
		h.format()
		return true
	case FaultRotLog, FaultRotWitness, FaultRotIdentity:
		return running && h.rot(f)
	case FaultRotSnapshot:
		return h.rotSnapshots(f)
	case FaultRollback:
		if running {
			since, copied := h.images(), h.store.crash()
			w.after(f.For, func() { h.putBack(since, copied) })
		}
	case FaultTail:
		if running = running && h.store.mem == nil; running {
			old, since, acknowledged := h.store.segments().copyOf(), h.asked(), h.acknowledged()
			w.after(f.For, func() { h.cutTail(old, since, acknowledged) })
		}
	case FaultLie:
		if running = running && h.mayFail == nil; running {
			disk.lies, h.since = true, h.images()
			disk.forgive = func() bool { return !h.mayForget(h.since) }
			w.after(f.For, func() { h.losePower(disk) })
		}
	case FaultLostWrite, FaultStrayWrite:
		if running {
			disk.stray, disk.far, disk.abroad, disk.cut, h.since = f.N, f.Kind == FaultStrayWrite, f.X < 0.5, w.disks, h.images()
			h.mayBreak = true
		}
	}
	if !running {
		return false
	}
	h.forgets, h.flipped = true, true // and its snapshots may be older than its log
	return true
}

// rot flips a bit of what is needed at the next start at the latest.
func (h *host) rot(f *Fault) bool {
	name := ""
	switch {
	case f.Kind == FaultRotLog:
		if !h.store.decay() {
			return false
		}
		h.decayed = true
	case h.store.mem != nil:
		return false
	default:
		name = logDir + "/identity"
		if f.Kind == FaultRotWitness {
			name = logDir + "/witness"
		}
		h.store.disk.flip(name, h.w.disks)
	}
	h.mayBreak = true
	if name != "" || chance(h.w.disks, 0.6) {
		h.crash(f.For)
	}
	return true
}

func (h *host) rotSnapshots(f *Fault) bool {
	w := h.w
	if slices.ContainsFunc(w.oracle.groups, func(o *groupOracle) bool { return len(o.live()) > 1 || o.live()[0].Changing() }) {
		return false
	}
	names := h.store.filesIn(snapshotsDir)
	if len(names) == 0 {
		return false
	}
	if f.N%2 == 0 { // all of them otherwise, so that none is left to fall back to
		w.disks.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
		names = names[:1]
	}
	for _, name := range names {
		h.store.disk.flip(name, w.disks)
	}
	h.flipped = true
	if h.up && chance(w.disks, 0.7) {
		h.crash(f.For)
	}
	return true
}

// mayLose reports whether a fault has taken from this server's log, or may have, what it had promised.
func (h *host) mayLose() bool { return h.forgets || h.mayBreak || h.formats > 1 }

// end is how far a log goes.
type end struct {
	next raft.Index
	term raft.Term
}

// asked is how far each group's log may go at most in its store: some of it may not be written yet.
func (h *host) asked() (list []end) {
	for _, o := range h.w.oracle.groups {
		m := &o.mirrors[h.number-1].now
		list = append(list, end{m.next(), m.hard.Term})
	}
	return list
}

// acknowledged is how far each group's log has been said to go.
func (h *host) acknowledged() (list []end) {
	for _, o := range h.w.oracle.groups {
		m := &o.mirrors[h.number-1].disk
		list = append(list, end{m.next(), m.hard.Term})
	}
	return list
}

// images are what each group's log promises to hold.
func (h *host) images() []image {
	list := make([]image, len(h.w.oracle.groups))
	for g, o := range h.w.oracle.groups {
		list[g] = o.mirrors[h.number-1].disk.clone()
	}
	return list
}

// mayForget reports whether this server may lose everything that it has promised since its logs were as given, without
// knowing it, so that nothing is lost by it that any majority decides: every entry that it would forget is on so many other
// disks that each majority has one of them, and every term that it would forget is past for so many others that neither an
// older leader nor a second candidate can win it over. No run may ask for more: with one of three servers that
// silently forgets, an acknowledged command can be on no other disk that votes.
func (h *host) mayForget(since []image) bool {
	for g, o := range h.w.oracle.groups {
		if !o.mayForget(h, &since[g]) {
			return false
		}
	}
	return true
}

func (o *groupOracle) mayForget(h *host, since *image) bool {
	live := o.live()
	if len(live) > 1 || len(o.wanted()) > 0 || live[0].Changing() || !h.in(live[0].Voters) {
		return false // who is to vote may be counted by what it has acknowledged before
	}
	list := append(live, since.latest().Membership)
	for _, m := range o.mirrors {
		list = append(list, m.disk.latest().Membership) // whoever lags behind counts by what it knows
	}
	for _, m := range list {
		if h.in(m.Voters) && (m.Changing() || !o.mayForgetIn(m.Voters, h, since)) {
			return false
		}
	}
	return true
}

// mayForgetIn is mayForget for a server that goes by these voters.
func (o *groupOracle) mayForgetIn(voters []raft.Member, h *host, since *image) bool {
	all := len(voters)
	majority := all/2 + 1
	m := &o.mirrors[h.number-1].disk
	last := m.next() - 1
	_, chain, _ := m.at(last)
	holders, open := 0, 0
	for _, v := range voters {
		voter := o.w.hostOf(v)
		if voter == h || voter == nil {
			continue
		}
		other := o.mirrors[voter.number-1]
		if other.relearn { // what it has forgotten is not known before it starts
			open++
			continue
		}
		if voter.sound() && !voter.decayed && other.disk.holds(last, chain) {
			holders++
		}
		if hard := &other.disk.hard; hard.Term < m.hard.Term || hard.Term == m.hard.Term && hard.Vote == 0 {
			open++
		}
	}
	if _, was, ok := since.at(last); (!ok || was != chain) && holders < all-majority+1 {
		return false
	}
	return since.hard == m.hard || open+1 < majority
}

// retryAfter is how often a server is looked at again that may not forget yet.
const retryAfter = 15 * time.Millisecond

// putBack puts an older copy of a store back, at the first moment at which that may be.
func (h *host) putBack(since []image, copied *store) {
	switch {
	case h.w.calm || h.gone != nil:
	case h.mayForget(since):
		h.w.note("server %v gets an older copy of its store", h)
		h.crash(upTo(h.w.jobs, time.Second))
		h.store = copied
		h.forget()
		h.w.saw(sawRolledBack)
	default:
		h.w.after(retryAfter, func() { h.putBack(since, copied) })
	}
}

// losePower cuts the power of a disk that has lied, at the first moment at which that may be.
func (h *host) losePower(disk *disk) {
	switch {
	case h.w.calm || h.gone != nil || h.store.disk != disk || !h.up:
	case h.mayForget(h.since):
		disk.lies = false
		h.crash(upTo(h.w.jobs, time.Second))
	default:
		h.w.after(retryAfter, func() { h.losePower(disk) })
	}
}

// cutTail puts an older copy of the log's segments beside the witness as it is, which knows better.
func (h *host) cutTail(old *node, since, acknowledged []end) {
	if h.w.calm || h.gone != nil || !h.up {
		return // a power cut has come first, and may have taken the last second of the witness
	}
	before := h.store.disk
	// A witness knows of saves that were acknowledged. The copy may have one more, which cuts the log, and a crash leave part of another.
	h.shorter = false
	for g, now := range h.acknowledged() {
		was := since[g]
		h.shorter = h.shorter || now != acknowledged[g] && (now.term > was.term || now.term == was.term && now.next > was.next)
	}
	h.crash(upTo(h.w.jobs, time.Second))
	h.w.note("server %v gets an older copy of its segments", h)
	h.store.disk.replace(logDir, segmentsDir, old)
	h.store.keepWitness(before)
	h.forget()
}

// keepWitness has a witness survive a power cut as it was, with what it was not synced with. A power cut takes up to a second
// from it, and what else befalls a log in that second it does not tell.
func (s *store) keepWitness(before *disk) {
	if n, err := before.find(logDir + "/witness"); err == nil && s.mem == nil {
		s.disk.replace(logDir, "witness", n.copyOf())
	}
}

// lost looks at a store whose power has gone: what it had promised may not be there any more.
func (h *host) lost(before *disk) {
	since := h.since
	h.since = nil
	if h.decayed {
		h.store.keepWitness(before)
		h.forget() // rot in its last save looks like one that was never finished, but for the witness
	}
	if since != nil && before.overlaid { // what was older than the fault may have gone, too
		for g := range since {
			since[g] = newImage()
		}
	}
	switch {
	case since == nil:
	case h.store.disk.forgot:
		h.w.saw(sawLied)
		h.forget()
	case before.astray > 0 && h.mayForget(since):
		if h.w.saw(sawWentAstray); before.strange {
			h.w.saw(sawOverwritten)
		}
		h.forget()
	case before.astray > 0:
		h.w.note("server %v is not started again: others could not do without what it may have forgotten", h)
		h.gone = errDecayed
	}
}

// forget has the observer expect nothing of a store.
func (h *host) forget() {
	h.mayBreak = true
	for _, o := range h.w.oracle.groups {
		m := o.mirrors[h.number-1]
		former := m.disk
		m.former, m.relearn = &former, true
	}
}

// relearn takes what a store holds for what it promises from now on. It must be a part of what it was once given.
func (o *groupOracle) relearn(h *host) error {
	m := o.mirrors[h.number-1]
	found, err := o.read(h.store.log())
	if err != nil {
		return err
	}
	for i := found.base + 1; i < found.next(); i++ {
		term, chain, _ := found.at(i)
		if was, ok := o.places[place{i, term}]; !ok || was.chain != chain {
			o.w.fail(checkDurable, "server %v group %d: index %d, term %d stands in the store as nobody has written it", h, o.group, i, term)
		}
	}
	for b := range o.votes {
		if b.store == h.identity.Store && b.term >= found.hard.Term {
			delete(o.votes, b)
		}
	}
	if h.shorter && !found.hard.Lost {
		o.w.fail(checkWitness, "server %v group %d starts on a log that ends before what its witness knows of, and takes it for whole", h, o.group)
	}
	if found.hard.Lost && !m.disk.hard.Lost {
		o.w.saw(sawTailLost)
		o.w.note("server %v group %d starts with a log that has lost its end", h, o.group)
	}
	m.disk, m.now, m.pending, m.relearn = found, found.clone(), nil, false
	return nil
}

// read makes an image of what a log holds.
func (o *groupOracle) read(log persistentlog.PersistentLog) (image, error) {
	st, err := log.Load(o.group)
	m := newImage()
	m.hard, m.birth, m.snapshot, m.commit = st.Hard, !st.Birth.IsZero(), st.Snapshot, st.Commit
	m.base, m.first, m.chains[0] = max(st.First, 1)-1, st.First, st.Chain
	if m.base == st.Snapshot.Index {
		m.terms[0] = st.Snapshot.Term
	}
	switch {
	case !st.Snapshot.IsZero():
		m.members = []raft.MembershipAt{{Index: st.Snapshot.MembershipIndex, Membership: st.Snapshot.Membership}}
	case m.birth:
		m.members = []raft.MembershipAt{{Membership: st.Birth.Membership}}
	}
	for at := st.First; err == nil && at < st.Next; at = m.next() {
		var blocks []raft.Block
		blocks, err = log.Blocks(o.group, at, st.Next, 1<<20)
		if err == nil && at == st.First {
			m.chains[0] = blocks[0].Chain()
		}
		for i := range blocks {
			if blocks[i].First() > m.latest().Index {
				m.takeMembership(o, &blocks[i])
			}
			for _, chain := range o.chainsOf(&blocks[i]) {
				m.terms, m.chains = append(m.terms, blocks[i].Term()), append(m.chains, chain)
			}
		}
	}
	return m, err
}

// damaged deals with a server that stops because its store is damaged.
func (h *host) damaged(why error) {
	w := h.w
	w.saw(sawStoreDamaged)
	w.note("server %v has a damaged store: %s", h, firstLine(why))
	h.gone = why
}
