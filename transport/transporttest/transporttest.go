// Package transporttest is the conformance suite of transport.Transport: it tries the promises in the comments of the
// interface and of its Handler against an implementation. It imports no test framework.
//
// In a Go test:
//
//	func TestMyTransportKeepsItsPromises(t *testing.T) {
//		transporttest.Subtests(t, func() (transporttest.Network, error) { return newMyNetwork(), nil })
//	}
package transporttest

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/oarlock/oarlock/transport"
)

// T is what a story reports to; *testing.T is one.
type T interface {
	Helper()
	Errorf(format string, args ...any)
}

// Network is where transports of one cluster reach each other. It loses nothing of its own accord.
type Network interface {
	// Open makes a transport that speaks for local, not started yet, and returns the address under which the others
	// reach it, which it claims too (local.Address). The suite closes it. A server may be opened again, with another run, after
	// it was closed; its address may then be another. Two may be open that have one id and different stores.
	Open(local transport.Local) (t transport.Transport, address string, err error)
	// Close comes after all transports were closed.
	Close() error
}

// Factory makes a fresh network.
type Factory func() (Network, error)

// Story is one part of the suite. Its name is a sentence that the implementation under test makes true or false.
type Story struct {
	Name string
	tell func(*script) error
}

// Stories returns the suite's parts, for callers with a runner of their own.
func Stories() []Story {
	return []Story{
		{"MessagesArriveAsTheyWereSent", arriveAsSent},
		{"MessagesOfOneSenderStayInOrderWithinALane", stayInOrder},
		{"WhatIsSentIsCopiedBeforeSendReturns", copiedBeforeReturn},
		{"TheLargestBlocksArrive", largestBlocks},
		{"AMessageForAnotherStoreIsDropped", otherStore},
		{"AReceiverThatIsFullHoldsUpAppendsAndNotHeartbeats", fullReceiver},
		{"SendNeverBlocksAndItsQueueIsBounded", sendNeverBlocks},
		{"APeerThatCannotBeReachedIsReported", unreachablePeer},
		{"OnlyPeersAreSentTo", onlyPeers},
		{"TwoPeersMayShareAnID", sharedID},
		{"AServerThatIsNoPeerIsAnswered", visitorIsAnswered},
		{"AServerThatMovedIsReachedAtItsOtherAddress", movedPeer},
		{"AServerThatStartedAgainIsReachedWithItsNewRun", startedAgain},
		{"AHandlerThatPanicsHarmsNobodyElse", panickingHandler},
		{"ChunksArriveWithTheirBytes", chunksArrive},
		{"ARefusedChunkSaysWhy", chunkRefused},
		{"AFetchEndsWithItsContext", fetchCancelled},
		{"ChunksHoldUpNoMessages", chunksHoldUpNothing},
		{"NothingIsDeliveredAfterClose", closeWithTraffic},
	}
}

// Check tells the story to a fresh network and reports what was not as promised.
func (s Story) Check(t T, factory Factory) {
	t.Helper()
	if err := s.guarded(factory); err != nil {
		t.Errorf("%s: %v", s.Name, err)
	}
}

// guarded makes an error of a panic, so that the other stories are told too.
func (s Story) guarded(factory Factory) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	network, err := factory()
	if err != nil {
		return fmt.Errorf("making a network: %w", err)
	}
	c := &script{network: network}
	defer func() { err = errors.Join(err, c.end()) }()
	return s.tell(c)
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
