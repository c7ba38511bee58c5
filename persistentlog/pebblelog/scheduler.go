package pebblelog

import (
	"sync"

	"github.com/cockroachdb/pebble/v2"
)

// scheduler decides when Pebble may compact. Pebble has one of its own. This one
//   - starts none before Open has succeeded: if Pebble's Open fails, it takes apart what a compaction under way is using,
//     and the compaction's goroutine ends the process;
//   - starts none after the fence, where one that fails would be tried again without end;
//   - does not wake ten times a second in an idle store, and leaves no goroutine behind when Open fails.
type scheduler struct {
	fence *fence

	granting sync.Mutex // held while compactions are being started; taken before mu
	mu       sync.Mutex // never held across a call into Pebble that takes Pebble's locks
	db       pebble.DBForCompaction
	opened   bool
	stopped  bool
	running  int
}

var _ pebble.CompactionScheduler = (*scheduler)(nil)

// Register is called by Pebble's Open.
func (s *scheduler) Register(_ int, db pebble.DBForCompaction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.db = db
}

// Unregister is called by Pebble's Close. When it returns no compaction is started any more.
func (s *scheduler) Unregister() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.granting.Lock()
	defer s.granting.Unlock()
}

// open lets compactions begin: those first that Pebble has wanted meanwhile.
func (s *scheduler) open() {
	s.mu.Lock()
	s.opened = true
	s.mu.Unlock()
	s.grant()
}

// TrySchedule asks for one compaction. A refused one is remembered by Pebble and comes with the next grant.
func (s *scheduler) TrySchedule() (bool, pebble.CompactionGrantHandle) {
	if !s.reserve() {
		return false, nil
	}
	return true, compactionGrant{s}
}

func (s *scheduler) reserve() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opened || s.stopped || s.fence.Down() || s.running >= s.db.GetAllowedWithoutPermission() {
		return false
	}
	s.running++
	return true
}

func (s *scheduler) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
}

// grant starts waiting compactions while there is room for them.
func (s *scheduler) grant() {
	s.granting.Lock()
	defer s.granting.Unlock()
	for s.reserve() {
		if waiting, _ := s.db.GetWaitingCompaction(); !waiting || !s.db.Schedule(compactionGrant{s}) {
			s.giveBack()
			return
		}
	}
}

// UpdateGetAllowedWithoutPermission has nothing to do: whatever waits, waits for a compaction that is running, and comes
// when that one is done.
func (s *scheduler) UpdateGetAllowedWithoutPermission() {}

// compactionGrant is the leave for one compaction.
type compactionGrant struct{ s *scheduler }

func (compactionGrant) Started()                                          {}
func (compactionGrant) MeasureCPU(pebble.CompactionGoroutineKind)         {}
func (compactionGrant) CumulativeStats(pebble.CompactionGrantHandleStats) {}

// Done is called when the compaction has ended.
func (g compactionGrant) Done() {
	g.s.giveBack()
	g.s.grant()
}
