package server

import (
	"errors"
	"sync"
	"time"

	"github.com/oarlock/oarlock/raft"
)

// handOver has the groups that this server leads go on under other leaders before it ends, so that nobody has to find out by
// an election timeout that it is gone. It takes two of the longest election timeouts at most, one for a successor to take over
// and one to hear of it, and never more than half of the time that Close has. It is over as soon as nobody can take over.
func (s *Server) handOver(c *closer) {
	var left sync.WaitGroup
	var timeout time.Duration
	for _, g := range s.sorted() {
		timeout = max(timeout, 2*g.replica.group.ElectionTimeoutMax)
		left.Add(1)
		s.submitOrder(g.id, order{kind: orderLeave, done: leave{&left}})
	}
	timer, stop := s.clock.NewTimer(min(timeout, s.options.CloseTimeout/2))
	defer stop()
	select {
	case <-after(left.Wait):
	case <-timer: // who is not answered yet is when its replica stops
	case <-c.c:
		c.late = true
	}
}

// leave counts the answers of groups: how each of them ended makes no difference to a server that closes.
type leave struct{ all *sync.WaitGroup }

// Complete implements Completion.
func (l leave) Complete([]byte, error) { l.all.Done() }

// orderLeave hands leadership over because the server is to end, or joins the transfer that is under way. Where this server does
// not lead, or nobody can take over, there is nothing to wait for.
func (r *Replica) orderLeave(now time.Duration, o order) {
	if err := r.node.TransferLeadership(now, 0); err != nil && !errors.Is(err, raft.ErrTransferOpen) {
		r.answer(o.done, nil, r.transferRefusal(err))
		return
	}
	r.orders.transfers = append(r.orders.transfers, o)
}

// answerLeaving answers who waits to end once a later term has begun: when it is known who leads in it, because clients are sent there,
// and because the vote of this server has then done its work; and when what was committed under it has been answered.
func (r *Replica) answerLeaving() {
	if len(r.orders.leaving) == 0 || r.leader == 0 || r.waitersHead < len(r.waiters) {
		return
	}
	waited := r.orders.leaving
	r.orders.leaving = nil
	for _, o := range waited {
		r.answer(o.done, nil, nil)
	}
}
