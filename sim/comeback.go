package sim

import (
	"slices"

	"github.com/oarlock/oarlock/raft"
)

// comeback is a plot around a leader that leads again. It and one follower are cut off from the rest, and what the follower
// acknowledges is held up. The rest elect another leader and go on. Then the follower is cut off from everybody, the former
// leader takes the others' log and is handed leadership. Now it reaches one voter less than it needs, and the acknowledgements
// come: for entries that are gone, from a follower that has nothing of this term. Who takes them for what stands there now
// commits what is not on a majority.
type comeback struct {
	w        *world
	leader   *host
	follower *host
	few      []*host // whom the leader reaches at last
	group    int
	was      raft.Term
	apart    bool // the two are still together, and away from the rest
	again    bool // it leads again
	asked    bool // somebody was asked to hand leadership over
	held     []raft.Message
	calls    int // that were made
	late     int // of them at the last moment
	left     int // so often it is still looked
	end      func()
}

// comebackServers is how many voters it takes: two that hold what the others can still do without.
const comebackServers = 5

// comeback begins the plot, if there are enough servers.
func (w *world) comeback(f *Fault) bool {
	leader := w.target(&Fault{Server: leaderServer, N: f.N})
	if leader == nil {
		return false
	}
	c := &comeback{w: w, leader: leader, group: f.N % w.plan.Groups, apart: true}
	r := leader.replicas[c.group]
	voters := r.seen.membership.Voters
	if len(voters) < comebackServers || r.seen.membership.Changing() || !r.seen.born {
		return false
	}
	for k := range voters {
		switch h := w.hostOf(voters[(k+f.N)%len(voters)]); {
		case h == nil || h == leader || !h.up:
		case c.follower == nil:
			c.follower = h
		case len(c.few) < len(voters)/2-1:
			c.few = append(c.few, h)
		}
	}
	if len(c.few) < len(voters)/2-1 {
		return false
	}
	c.was, c.left = r.oracle.termMax, int(8*w.plan.ElectionTimeoutMax/w.plan.StepMax)
	w.note("servers %v and %v are cut off from the rest, and what the one answers to the other comes when that one leads again", leader, c.follower)
	w.net.plot, c.end = c, w.net.addCut(c.cut)
	c.look()
	return true
}

func (c *comeback) cut(from, to int) bool {
	with := func(list ...*host) bool {
		in := func(number int) bool {
			return slices.ContainsFunc(list, func(h *host) bool { return h.number == number })
		}
		return in(from) != in(to)
	}
	switch {
	case c.apart:
		return with(c.leader, c.follower)
	case c.again && with(slices.Concat(c.few, []*host{c.leader})...):
		return true
	}
	return with(c.follower)
}

func (c *comeback) takes(from *host, m *raft.Message) bool {
	if c.again || from != c.follower || m.To != c.leader.id || int(m.Group) != c.group+1 || m.Type != raft.MessageAppendResponse || m.Reject {
		return false
	}
	c.held = append(c.held, *m)
	return true
}

// look does what is next, as soon as its time has come.
func (c *comeback) look() {
	w, o := c.w, c.w.oracle.groups[c.group]
	if w.calm || w.net.plot != c {
		return
	}
	if c.left--; c.left == 0 || !c.leader.up {
		c.over()
		return
	}
	r := c.leader.replicas[c.group]
	switch {
	case c.apart && o.termMax == c.was:
		c.offer(r)
	case c.apart:
		c.apart = false
	case c.again:
		c.offer(r)
	case r.seen.role == raft.RoleLeader && r.seen.term > c.was:
		c.deliver()
	default:
		c.handOver(r)
	}
	w.after(w.plan.StepMax, c.look)
}

// comebackCalls is how many commands are asked for as fast as they come, and as many again at the last moment. More of them, with
// outcomes that nobody learns, would leave too many orders to be tried that might explain what clients saw.
const comebackCalls = 30

// offer has clients that still reach the leader go on: at first as fast as they can, and then with what comes in the turn in
// which something is due, which may be the end of its leadership.
func (c *comeback) offer(r *replica) {
	if c.calls < comebackCalls {
		c.calls++
		r.command()
	}
	if due := r.h.until(r.r.Deadline()); due < c.w.plan.StepMax && c.late < comebackCalls {
		c.late++
		r.h.after(max(due, 0), func() {
			if c.w.net.plot == c {
				r.command()
			}
		})
	}
}

// handOver asks whoever leads to make way for the former leader, once that one has the others' log.
func (c *comeback) handOver(r *replica) {
	now := c.w.leading(c.group)
	if c.asked || c.w.late() || now == nil || now.seen.term <= c.was || r.seen.next < now.seen.next || r.seen.term < now.seen.term {
		return
	}
	c.asked = true
	now.in.TransferLeadership(c.leader.id, handed{c})
	now.poke()
}

// handed is the Completion of a transfer: it is asked for again where it came to nothing.
type handed struct{ c *comeback }

// Complete implements server.Completion.
func (h handed) Complete(_ []byte, err error) { h.c.asked = err == nil }

// deliver brings the acknowledgements, a long time after they were given.
func (c *comeback) deliver() {
	w := c.w
	c.calls, c.late = 0, 0
	c.again, c.left = true, int(w.plan.ElectionTimeoutMin/w.plan.StepMax)
	w.note("server %v leads again, and %d acknowledgements of its former leadership come", c.leader, len(c.held))
	if len(c.held) > 0 {
		w.saw(sawOldAnswers)
	}
	for _, m := range c.held {
		w.after(upTo(w.nets, 2*w.plan.StepMax), func() {
			c.leader.after(0, func() { c.leader.receive(m) })
		})
	}
}

// over ends the plot.
func (c *comeback) over() {
	if c.w.calm {
		return
	}
	c.end()
	if c.w.net.plot == c {
		c.w.net.plot = nil
	}
}
