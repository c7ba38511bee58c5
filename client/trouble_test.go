package client

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/oarlock/oarlock/internal/wire"
	"github.com/oarlock/oarlock/raft"
)

// cancel ends a call as its deadline does, and returns its error.
func (s *story) cancel(h Handle, name string) error {
	s.core.Cancel(s.now, h, context.DeadlineExceeded)
	s.act()
	require.ErrorIs(s.t, s.ended[name].Err, context.DeadlineExceeded)
	return s.ended[name].Err
}

// A caller whose time is over hears what a server has said meanwhile, though the outcome is unknown all the same.
func TestUnknownOutcomeSaysWhatWasInTheWay(t *testing.T) {
	stopped := fmt.Errorf("%w: apply entries 7 to 7: it cannot", wire.ErrFenced)
	for _, op := range []Op{OpPropose, OpChangeMembership} {
		t.Run(fmt.Sprint("said by a server ", op), func(t *testing.T) {
			s := newStory(t, CoreOptions{})
			body := []byte("a")
			if op == OpChangeMembership {
				body = AppendChange(nil, addTwo)
			}
			h := s.core.Start(s.now, op, body, "a")
			s.act()
			open := s.open
			if op == OpChangeMembership {
				open = s.connect
			}
			id := open("one")
			s.fail(id, s.next(id, opMethods[op]), unknown(stopped))
			err := s.cancel(h, "a")
			require.ErrorIs(t, err, ErrUnknown)
			require.Equal(t, wire.CodeUnknown, wire.CodeOf(err))
			require.ErrorContains(t, err, "replica stopped: apply entries 7 to 7: it cannot")
			require.ErrorAs(t, err, new(*wire.RemoteError), "what the server has said")
		})
	}
	t.Run("a refusal after it", func(t *testing.T) {
		s := newStory(t, CoreOptions{Addresses: []string{"one", "two"}})
		h := s.core.Start(s.now, OpChangeMembership, AppendChange(nil, addTwo), "a")
		s.act()
		id := s.connect(s.dials[0].Address)
		s.fail(id, s.next(id, wire.MethodChangeMembership), wire.ErrUnknown)
		s.wake()
		s.fail(id, s.next(id, wire.MethodChangeMembership), stopped)
		err := s.cancel(h, "a")
		require.ErrorIs(t, err, ErrUnknown, "the first attempt may have done it")
		require.ErrorIs(t, err, wire.ErrFenced)
		require.Equal(t, wire.ClassUnknown, wire.ClassOf(err))
	})
	t.Run("a connection that was lost", func(t *testing.T) {
		s := newStory(t, CoreOptions{})
		h := s.start(OpPropose, "a")
		id := s.open("one")
		s.next(id, wire.MethodPropose)
		s.core.Disconnected(s.now, id, net.ErrClosed)
		s.act()
		require.EqualError(t, s.cancel(h, "a"), "oarlock: outcome unknown: context deadline exceeded (connection to one: use of closed network connection)")
	})
	t.Run("nothing", func(t *testing.T) {
		s := newStory(t, CoreOptions{})
		h := s.start(OpPropose, "a")
		id := s.open("one")
		s.next(id, wire.MethodPropose)
		require.EqualError(t, s.cancel(h, "a"), "oarlock: outcome unknown: context deadline exceeded")
	})
}

// Servers may know who leads and not where: that is said, and not that no server has answered.
func TestLeaderWithoutAnAddressIsNamed(t *testing.T) {
	says := "server 4 leads, and no address is known for it: change its address in the group's membership, or name it to the client"
	for _, sessionless := range []bool{false, true} {
		s := newStory(t, CoreOptions{Sessionless: sessionless})
		h := s.start(OpPropose, "a")
		id := s.connect("one")
		method := wire.MethodSessionOpen
		if sessionless {
			method = wire.MethodPropose
		}
		s.fail(id, s.next(id, method), &wire.NotLeaderError{Leader: 4})
		err := s.cancel(h, "a")
		require.ErrorIs(t, err, ErrNotSent)
		require.ErrorContains(t, err, says)
	}
	require.ErrorContains(t, &wire.NotLeaderError{Leader: 4}, says, "whoever says it")

	// A client that was told by its caller where the server is goes there.
	s := newStory(t, CoreOptions{ByID: map[raft.ServerID]string{4: "four"}})
	for s.core.lead.target != "one" {
		s.core.rotate(&s.core.lead, "")
	}
	s.start(OpPropose, "a")
	id := s.connect("one")
	s.fail(id, s.next(id, wire.MethodSessionOpen), &wire.NotLeaderError{Leader: 4})
	s.connect("four")
}

func TestAddressesThatTCPCannotDialAreRefusedAtOnce(t *testing.T) {
	for address, says := range map[string]string{
		"nonsense":        `client: Servers: "nonsense" is no address: missing port in address; write host:port`,
		"127.0.0.1:99999": `port "99999" is not a number from 1 to 65535`,
		"":                `"" is no address`,
	} {
		_, err := New(Options{Servers: []string{"127.0.0.1:7101", address}})
		require.ErrorContains(t, err, says)
		_, err = New(Options{Addresses: map[raft.ServerID]string{7: address}})
		require.ErrorContains(t, err, "client: Addresses: server 7: ")
	}
	c, err := New(Options{Servers: []string{"127.0.0.1:7101", ":7102"}})
	require.NoError(t, err)
	require.NoError(t, c.Close())
	c, err = New(Options{Servers: []string{"nonsense"}, Dial: func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }})
	require.NoError(t, err, "who dials by itself knows what it dials")
	require.NoError(t, c.Close())
}
