package server

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// sessions is the table that makes a command take effect once however often it is tried (dissertation 6.3). It is
// replicated state: what it does depends on the entries so far and on the group's limits, and on nothing else. It
// belongs to the apply lane.
type sessions struct {
	limits raft.GroupLimits
	byID   map[uint64]*session
	// least and most are the ends of the list by use: every use goes to the most recent end, so that both the session
	// that expires next and the one that gives way to a new one are at the other.
	least, most *session
	// changes collects what a durable machine has to keep; nil for the others.
	changes *changes
}

// session is one client's. Results are kept from its floor on, sorted by sequence.
type session struct {
	wire.Session
	results    []wire.Result
	bytes      int    // of results
	running    int    // commands of the batch under way, whose results are not known yet
	runningTo  uint64 // the highest sequence among them
	prev, next *session
}

func newSessions(limits raft.GroupLimits) *sessions {
	return &sessions{limits: limits, byID: make(map[uint64]*session)}
}

// admit decides what a command in a session does. With a nil error and a nil result it is to be executed, and settle
// must follow. A result is the answer of an earlier attempt. An error says why the command is not executed, on any
// replica, ever, at this index.
func (t *sessions) admit(c wire.Command, index raft.Index, time int64) (*session, *wire.Result, error) {
	s, ok := t.byID[c.Session]
	if !ok {
		return nil, nil, fmt.Errorf("%w: session %d", ErrSessionExpired, c.Session)
	}
	t.raiseFloor(s, c.Floor)
	t.use(s, index, time) // a durable machine keeps the floor of now with it
	if c.Sequence < s.Floor {
		return nil, nil, fmt.Errorf("%w: sequence %d of session %d is below its floor, %d", ErrSequence, c.Sequence, c.Session, s.Floor)
	}
	if c.Sequence-s.Floor >= uint64(t.limits.SessionResultsMax) {
		return nil, nil, fmt.Errorf("%w: sequence %d of session %d is %d or more above its floor, %d: take in answers first",
			ErrSequence, c.Sequence, c.Session, t.limits.SessionResultsMax, s.Floor)
	}
	if k, found := s.find(c.Sequence); found {
		return s, &s.results[k], nil
	}
	if s.bytes >= int(t.limits.SessionResultBytes) && len(s.results) > 0 {
		return nil, nil, fmt.Errorf("%w: session %d keeps %d bytes of results that its floor, %d, still holds: raise it first",
			ErrSequence, c.Session, s.bytes, s.Floor)
	}
	s.running++
	s.runningTo = max(s.runningTo, c.Sequence)
	return s, nil, nil
}

// mustSettle reports whether commands of the session that are still running decide what admit would answer: then the
// batch has to end before it is asked. The borders of batches differ between servers, so nothing may depend on them.
func (t *sessions) mustSettle(c wire.Command) bool {
	s, ok := t.byID[c.Session]
	if !ok || s.running == 0 {
		return false
	}
	if c.Sequence <= s.runningTo {
		return true
	}
	most := uint64(s.bytes) + uint64(s.running)*uint64(t.limits.ResultBytesMax)
	return most >= uint64(t.limits.SessionResultBytes)
}

// find returns where the result of sequence is, or belongs.
func (s *session) find(sequence uint64) (int, bool) {
	k := sort.Search(len(s.results), func(k int) bool { return s.results[k].Sequence >= sequence })
	return k, k < len(s.results) && s.results[k].Sequence == sequence
}

// settle keeps the result of an executed command.
func (t *sessions) settle(s *session, sequence uint64, result []byte, err error) {
	if s.running--; s.running == 0 {
		s.runningTo = 0
	}
	r := wire.Result{Sequence: sequence, Result: result}
	if err != nil {
		r.Code, r.Result = wire.CodeOf(err), nil
	}
	// A floor that rose behind this command in the same batch has no use for its result any more.
	if sequence < s.Floor || t.byID[s.ID] != s {
		return
	}
	k, _ := s.find(sequence)
	s.results = slices.Insert(s.results, k, r)
	s.bytes += len(r.Result)
	t.changes.result(s.ID, r)
}

// answerOf turns a kept result into what the client is told.
func answerOf(r *wire.Result) ([]byte, error) {
	switch r.Code {
	case 0:
		return r.Result, nil
	case wire.CodeResultTooLarge:
		return nil, ErrResultTooLarge
	}
	return nil, &wire.RemoteError{Code: r.Code}
}

func (t *sessions) raiseFloor(s *session, floor uint64) {
	if floor <= s.Floor {
		return
	}
	s.Floor = floor
	k, _ := s.find(floor)
	for _, r := range s.results[:k] {
		s.bytes -= len(r.Result)
		t.changes.dropResult(s.ID, r.Sequence)
	}
	s.results = slices.Delete(s.results, 0, k)
}

// open begins a session whose id is the entry's index; the least recently used one gives way if there are too many.
func (t *sessions) open(index raft.Index, time int64) uint64 {
	for len(t.byID) > 0 && len(t.byID) >= int(t.limits.SessionsMax) {
		t.drop(t.least)
	}
	s := &session{Session: wire.Session{ID: uint64(index), Floor: 1}}
	t.byID[s.ID] = s
	t.link(s)
	t.use(s, index, time)
	return s.ID
}

// keep uses a session.
func (t *sessions) keep(id uint64, index raft.Index, time int64) error {
	s, ok := t.byID[id]
	if !ok {
		return fmt.Errorf("%w: session %d", ErrSessionExpired, id)
	}
	t.use(s, index, time)
	return nil
}

func (t *sessions) close(id uint64) {
	if s, ok := t.byID[id]; ok {
		t.drop(s)
	}
}

// expire ends every session that was not used for the expiry time.
func (t *sessions) expire(time int64) {
	for t.least != nil && t.expiry(t.least) <= time {
		t.drop(t.least)
	}
}

func (t *sessions) expiry(s *session) int64 {
	if s.UsedTime > math.MaxInt64-t.limits.SessionExpiryNanos {
		return math.MaxInt64
	}
	return s.UsedTime + t.limits.SessionExpiryNanos
}

// nextDue is the cluster time at which a session expires next.
func (t *sessions) nextDue() (nanos int64, ok bool) {
	if t.least == nil {
		return 0, false
	}
	nanos = t.expiry(t.least)
	return nanos, nanos < math.MaxInt64
}

func (t *sessions) use(s *session, index raft.Index, time int64) {
	s.UsedIndex, s.UsedTime = uint64(index), time
	if t.most != s {
		t.unlink(s)
		t.link(s)
	}
	t.changes.session(s.Session)
}

func (t *sessions) link(s *session) {
	s.prev, s.next = t.most, nil
	if t.most != nil {
		t.most.next = s
	} else {
		t.least = s
	}
	t.most = s
}

func (t *sessions) unlink(s *session) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		t.least = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	} else {
		t.most = s.prev
	}
	s.prev, s.next = nil, nil
}

func (t *sessions) drop(s *session) {
	t.unlink(s)
	delete(t.byID, s.ID)
	for _, r := range s.results {
		t.changes.dropResult(s.ID, r.Sequence)
	}
	t.changes.dropSession(s.ID)
}

// sessionImage is a session as a snapshot holds it.
type sessionImage struct {
	wire.Session
	results []wire.Result
}

// capture copies the table, least recently used first. The results' bytes are shared, because nobody changes them.
func (t *sessions) capture() []sessionImage {
	images := make([]sessionImage, 0, len(t.byID))
	for s := t.least; s != nil; s = s.next {
		image := sessionImage{Session: s.Session, results: slices.Clone(s.results)}
		image.Results = uint32(len(image.results))
		images = append(images, image)
	}
	return images
}

// restore replaces the table by what capture returned, in any order.
func (t *sessions) restore(images []sessionImage) {
	slices.SortFunc(images, func(a, b sessionImage) int { return compare(a.UsedIndex, b.UsedIndex) })
	t.byID = make(map[uint64]*session, len(images))
	t.least, t.most = nil, nil
	for _, image := range images {
		s := &session{Session: image.Session, results: image.results}
		slices.SortFunc(s.results, func(a, b wire.Result) int { return compare(a.Sequence, b.Sequence) })
		for _, r := range s.results {
			s.bytes += len(r.Result)
		}
		t.byID[s.ID] = s
		t.link(s)
	}
}

func compare(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
