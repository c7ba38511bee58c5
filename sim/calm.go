package sim

import (
	"errors"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/persistentlog"
	"github.com/oarlock/oarlock/raft"
)

// trickle is how many commands a group is given while it rests.
const trickle = 8

// rest lets time pass in which nothing fails and little happens: no term may change, and no more messages may be sent
// than heartbeats and a few entries need.
func (w *world) rest(d time.Duration) {
	if w.failure != nil {
		return
	}
	terms, before := make([]raft.Term, len(w.oracle.groups)), make([]groupOracle, len(w.oracle.groups))
	for g, o := range w.oracle.groups {
		terms[g], before[g] = w.leaderOf(g).seen.term, *o
	}
	began := w.now
	var calls []*op
	for range trickle {
		for g := range w.oracle.groups {
			if w.failure == nil && w.leaderOf(g) != nil {
				calls = append(calls, w.probeOne(g, CallAppend))
			}
		}
		w.run(w.now + d/trickle)
	}
	w.wait(w.servesWithin(), checkServes, func() string { return unanswered(calls) })
	for g, o := range w.oracle.groups {
		if r := w.leaderOf(g); w.failure == nil && (r == nil || r.seen.term != terms[g]) {
			w.fail(checkStable, "group %d: term %d has ended, and nothing had failed", o.group, terms[g])
		}
		w.countMessages(o, o.messages-before[g].messages, int(o.commitMax-before[g].commitMax), w.now-began)
	}
}

// serves waits for new commands to be answered. Where somebody fetches a snapshot, or begins to, there may be no majority without it,
// and the answer that it waits for may be lost.
func (w *world) serves(calls []*op) {
	missing := func() string { return unanswered(calls) }
	began, within := w.now, w.servesWithin()
	for w.failure == nil && w.now < began+within && !w.fetching() && missing() != "" {
		w.run(w.now + 20*time.Millisecond)
	}
	if w.fetching() {
		within += chunkTimeout
	}
	w.waitSince(began, within, checkServes, missing)
}

// countMessages bounds what a group's replicas send: a request and an answer for each heartbeat and peer, a few for each entry and
// peer, and what a server that is refused, or was told that it has lost its log, goes on asking everybody.
func (w *world) countMessages(o *groupOracle, sent, entries int, d time.Duration) {
	peers := len(w.hosts) - 1
	beats := int(d/w.plan.HeartbeatInterval) + 2
	most := peers * (2*beats + 6*(entries+1))
	for _, h := range w.hosts {
		if !h.sound() || !w.isMember(int(o.group-1), h) {
			most += 4 * peers * beats
		}
	}
	if sent > most {
		w.fail(checkMessages, "group %d sends %d messages for %d entries in %v, and %d would do", o.group, sent, entries, d, most)
	}
}

// spared looks for what goes on without need once all is well.
func (w *world) spared() {
	for g, o := range w.oracle.groups {
		if w.failure != nil {
			return
		}
		taken := 0 // snapshots that the group may have needed since the last fault
		for _, h := range w.hosts {
			if h.up && h.sound() {
				taken = max(taken, h.replicas[g].taken)
				if m := h.replicas[g].r.Status().Membership; w.isMember(g, h) && !m.Equal(o.inForce().Membership) {
					w.fail(checkJoint, "group %d: server %v ends with the membership %+v", o.group, h, m)
				}
			}
		}
		for _, h := range w.hosts {
			offers := 0
			for k := range o.offers {
				if k.to == (candidate{h.id, h.identity.Store}) {
					offers++
				}
			}
			if h.up && h.replicas[g].fetches > 2+taken {
				w.fail(checkOffers, "group %d: server %v has fetched %d snapshots, and the leader took %d", o.group, h, h.replicas[g].fetches, taken)
			}
			if offers > 2+taken {
				w.fail(checkOffers, "group %d: server %v was offered %d snapshots, and the leader took %d", o.group, h, offers, taken)
			}
		}
	}
}

// standStill is what is left where more was destroyed than can be lost: nobody leads, nobody is told anything wrong, every call ends
// when its caller gives up, and each server says what has become of it.
func (w *world) standStill() {
	w.saw(sawNoMajority)
	w.run(w.now + electionTimeouts*w.plan.ElectionTimeoutMax)
	sound := 0
	for g, o := range w.oracle.groups {
		sound = 0
		left := func(h *host) bool { return h.gone == nil && h.formats == 1 && !o.mirrors[h.number-1].now.hard.Lost }
		for _, h := range w.hosts {
			if left(h) {
				sound++
			}
		}
		if r := w.leaderOf(g); r != nil && !decides(r.seen.membership, func(v raft.Member) bool { return left(w.hostOf(v)) }) {
			w.fail(checkStops, "group %d is led by server %v, and %d of %d stores are left", o.group, r.h, sound, len(w.hosts))
		}
	}
	for _, h := range w.hosts {
		h.explains(sound)
	}
	for _, c := range w.clients {
		for _, k := range w.oracle.ops {
			if k.client == c && !k.ended && w.failure == nil {
				c.core.Cancel(w.now, k.handle, errGivenUp)
				c.act()
			}
		}
	}
	w.wait(time.Second, checkAnswered, func() string { return unanswered(w.oracle.ops) })
}

var errGivenUp = client.ErrNotSent

// explains looks whether a server that is lost to its group says why: a damaged store with the error that says so, and a wiped one
// as soon as anybody is there who knows better.
func (h *host) explains(sound int) {
	w := h.w
	if h.gone != nil && (!errors.Is(h.gone, persistentlog.ErrDamaged) || h.up) {
		w.fail(checkStops, "server %v has stopped with another reason than damage: %s", h, firstLine(h.gone))
	}
	for g, o := range w.oracle.groups {
		if h.up && o.mirrors[h.number-1].disk.hard.Lost && h.replicas[g].r.Status().Refused.Reason != raft.RefusalLostLog {
			w.fail(checkStops, "group %d: server %v has lost its log and does not say so", o.group, h)
		}
	}
	if h.formats == 1 || !h.up || sound == 0 {
		return
	}
	for g, r := range h.replicas {
		st := r.r.Status()
		switch st.Refused.Reason {
		case raft.RefusalStranger, raft.RefusalLostBirth, raft.RefusalBorn:
		default:
			w.fail(checkStops, "group %d: server %d was wiped and says %q of itself", g+1, h.id, st.Refusal)
		}
	}
}
