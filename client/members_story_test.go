package client

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// A client may outlive every server that it was told of at first.
func TestClientTriesTheServersThatOthersHaveNamed(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one"}, ByID: map[raft.ServerID]string{2: "two's door for clients"}})
	s.core.lead.rotation, s.core.lead.target = 0, "one"
	s.start(OpPropose, "x")
	id := s.connectTo("one", 1, wire.ClientAddress{ID: 1, Address: "one"}, wire.ClientAddress{ID: 2, Address: "two"}, wire.ClientAddress{ID: 3, Address: "three"})
	s.core.Disconnected(s.now, id, errors.New("gone"))
	s.act()
	tried := map[string]bool{}
	for range 6 {
		s.wake()
		d := s.dials[len(s.dials)-1]
		tried[d.Address] = true
		s.core.Disconnected(s.now, d.Conn, errors.New("refused"))
		s.act()
	}
	require.Equal(t, map[string]bool{"one": true, "two's door for clients": true, "three": true}, tried, "the one whose address is given is reached there")
}

// Who looks at one server, to find out how that one is, must not be told how another one is.
func TestClientThatLooksAtOneServerStaysWithIt(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one"}, Sessionless: true})
	s.start(OpStatus, "look")
	id := s.connectTo("one", 1, wire.ClientAddress{ID: 1, Address: "one"}, wire.ClientAddress{ID: 2, Address: "two"})
	s.next(id, wire.MethodStatus)
	s.core.Disconnected(s.now, id, errors.New("gone"))
	s.act()
	for n := range 4 {
		if n == 2 {
			s.start(OpQueryLocal, "what it has")
		}
		s.wake()
		d := s.dials[len(s.dials)-1]
		require.Equal(t, "one", d.Address)
		s.core.Disconnected(s.now, d.Conn, errors.New("refused"))
		s.act()
	}
	s.start(OpPropose, "x") // now whoever leads is wanted
	tried := map[string]bool{}
	for range 4 {
		s.wake()
		d := s.dials[len(s.dials)-1]
		tried[d.Address] = true
		s.core.Disconnected(s.now, d.Conn, errors.New("refused"))
		s.act()
	}
	require.Equal(t, map[string]bool{"one": true, "two": true}, tried)
}

func TestClientForgetsWhatItLearnedFirstAndNothingThatItWasGiven(t *testing.T) {
	s := newStory(t, CoreOptions{Addresses: []string{"one", "two"}})
	for n := range 3 * addressesMax {
		s.core.learn(fmt.Sprint(n))
		s.core.learn("two")
		s.core.learn("")
	}
	require.Len(t, s.core.addresses, addressesMax)
	require.Equal(t, []string{"one", "two"}, s.core.addresses[:2])
	require.True(t, slices.Contains(s.core.addresses, fmt.Sprint(3*addressesMax-1)), "the newest is there")
	require.Equal(t, fmt.Sprint(2*addressesMax+2), s.core.addresses[2], "the oldest gave way")

	var many []string
	for n := range 2 * addressesMax {
		many = append(many, fmt.Sprint(n))
	}
	s = newStory(t, CoreOptions{Addresses: many})
	s.core.learn("another")
	require.Equal(t, many[:addressesMax], s.core.addresses)
}
