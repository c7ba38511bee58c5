// Package logtest is the conformance suite of persistentlog.PersistentLog: it tries every sentence of the interface's
// comments against an implementation, with crashes, reopening, random operations and, where the implementation offers
// the hooks, failing writes and damage. It imports no test framework, so it also serves a tool that checks a disk.
//
// In a Go test:
//
//	func TestMyLogKeepsItsPromises(t *testing.T) {
//		logtest.Subtests(t, func() (logtest.Store, error) { return newMyStore(t.TempDir()) })
//	}
package logtest

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/oarlock/oarlock/persistentlog"
)

// T is what a story reports to; *testing.T is one.
type T interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Store is a place on which one PersistentLog at a time is open. The suite opens it, closes the log and opens it again.
// A Store may also be a Crasher, a SaveCrasher, a Failer and a Damager; what it is not, the suite leaves out and says so.
type Store interface {
	// Identity is what the store was formatted with.
	Identity() persistentlog.Identity
	// Open opens the log with what is durable. It is called first on an empty, formatted store, later after the log was
	// closed or the store crashed.
	Open() (persistentlog.PersistentLog, error)
}

// Crasher is a Store that can lose its power.
type Crasher interface {
	// Crash loses what no completed call made durable. The open log is abandoned: nothing more is called on it, not
	// even Close, so the Store releases what it holds. No call is running.
	Crash() error
}

// SaveCrasher is a Store that can lose its power within a Save.
type SaveCrasher interface {
	// CrashInSave calls Save on the open log and loses power at a moment that seed chooses: before anything of it is
	// durable, after everything, or between. The open log is abandoned as by Crash. The error is the store's own
	// trouble, never that of the save.
	CrashInSave(updates []persistentlog.Update, seed uint64) error
}

// Failer is a Store whose disk can fail.
type Failer interface {
	// FailNextSave makes the open log's next Save fail with an error.
	FailNextSave() error
}

// Damager is a Store whose files can be changed behind its back.
type Damager interface {
	// Damage changes what is stored while no log is open, at a place that seed chooses. It reports false where the
	// store has no such damage to offer or cannot be asked to notice it.
	Damage(kind Damage, seed uint64) (bool, error)
}

// Damage is a way in which a disk loses what it promised to keep.
type Damage uint8

const (
	// FlippedBit inverts one bit in a record that a completed Save wrote.
	FlippedBit Damage = 1
	// LostTail cuts off the newest part of what completed Saves wrote.
	LostTail Damage = 2
	// LostRecord removes one record that a completed Save wrote and others follow.
	LostRecord Damage = 3
)

// Factory makes a fresh, empty, formatted store. A story may ask for several, one after the other or at the same time.
type Factory func() (Store, error)

// Story is one part of the suite. Its name is a sentence that the implementation under test makes true or false.
type Story struct {
	Name string
	tell func(factory Factory) error
}

// Check tells the story to a fresh store and reports what was not as promised.
func (s Story) Check(t T, factory Factory) {
	t.Helper()
	switch err := s.guarded(factory); {
	case errors.Is(err, errNotOffered):
		t.Logf("%s: left out: %v", s.Name, err)
	case err != nil:
		t.Errorf("%s: %v", s.Name, err)
	}
}

// guarded makes an error of a panic: a log that mangles what it was given must not end the process that examines it.
func (s Story) guarded(factory Factory) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return s.tell(factory)
}

// Stories returns the suite's parts, for callers with a runner of their own.
func Stories() []Story {
	return []Story{
		{"AnEmptyStoreKnowsItsIdentityAndNoGroup", once(emptyStore)},
		{"GroupsAreListedInOrderOnceTheyWereSaved", once(groupsInOrder)},
		{"RecordsStandUntilTheyAreReplaced", once(recordsStand)},
		{"BlocksOfAnySizeComeBack", once(blocksOfAnySize)},
		{"ManyGroupsShareOneSave", once(manyGroups)},
		{"UpdatesOfOneGroupInOneSaveTakeEffectInOrder", once(updatesInOrder)},
		{"ReplacementCutsFromEveryIndex", once(replacement)},
		{"BlocksAnswersEveryRange", once(everyRange)},
		{"CompactionKeepsWhatFollows", once(compaction)},
		{"ATakenSnapshotDropsNothing", once(takenSnapshot)},
		{"AnInstalledSnapshotDropsTheLogOnBothSides", once(installedSnapshot)},
		{"TermsAndMembershipsFollowTheLog", once(termsAndMemberships)},
		{"ADestroyedGroupIsForgotten", once(destroyed)},
		{"BytesStayAsTheyWere", once(bytesStay)},
		{"ABadUpdateWritesNothing", once(badUpdates)},
		{"ReadersSeeOneMomentBesideASaver", once(concurrency)},
		{"ACrashBetweenCallsLosesNothing", crashBetweenCalls},
		{"ACrashWithinASaveKeepsEachUpdateWhole", crashWithinSave},
		{"AFailedSaveIsTheLast", failedSave},
		{"DamageIsNeverTakenForData", damage},
		{"RandomCallsAgreeWithAPlainModel", random},
	}
}

// Run checks all stories in order.
func Run(t T, factory Factory) {
	t.Helper()
	for _, story := range Stories() {
		story.Check(t, factory)
	}
}

// Runner is a T that can run a part of itself under a name; *testing.T is one, with itself for S.
type Runner[S any] interface {
	T
	Run(name string, f func(S)) bool
}

// Subtests checks each story in a subtest of its own.
func Subtests[S Runner[S]](t S, factory Factory) {
	t.Helper()
	for _, story := range Stories() {
		t.Run(story.Name, func(t S) {
			t.Helper()
			story.Check(t, factory)
		})
	}
}

var errNotOffered = errors.New("the store does not offer it")

func notOffered(what string) error { return fmt.Errorf("%w: %s", errNotOffered, what) }

// once tells a story that needs one store.
func once(tell func(*script) error) func(Factory) error {
	return func(factory Factory) (err error) {
		s, err := newScript(factory)
		if err != nil {
			return err
		}
		defer func() { err = s.end(err) }()
		return tell(s)
	}
}
