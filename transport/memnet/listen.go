package memnet

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"

	"github.com/oarlock/oarlock/raft"
)

// address is a place on the network.
type address string

func (address) Network() string  { return "memnet" }
func (a address) String() string { return string(a) }

// listener is where the clients of one server come in.
type listener struct {
	network *Network
	id      raft.ServerID
	backlog chan *conn
	done    chan struct{}
	once    sync.Once
}

// backlogMax is how many connections wait to be accepted before Dial waits too.
const backlogMax = 128

// Listen opens a server's door for clients. It is independent of the server's transport, and one at a time.
func (n *Network) Listen(id raft.ServerID) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[id] != nil {
		return nil, fmt.Errorf("memnet: server %d listens already", id)
	}
	l := &listener{network: n, id: id, backlog: make(chan *conn, backlogMax), done: make(chan struct{})}
	n.listeners[id] = l
	return l, nil
}

// Dial connects a client to a server that listens. What is written and not read is bounded, deadlines count, and
// neither faults nor cuts apply.
func (n *Network) Dial(ctx context.Context, id raft.ServerID) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[id]
	n.mu.Unlock()
	if l == nil {
		return nil, fmt.Errorf("memnet: connection refused: server %d does not listen", id)
	}
	client, server := newConns(address("memnet:client"), address(Address(id)))
	select {
	case <-l.done:
		return nil, fmt.Errorf("memnet: connection refused: server %d does not listen", id)
	default:
	}
	select {
	case l.backlog <- server:
		select {
		case <-l.done: // it may have been emptied just before
			server.Close() //nolint:errcheck // it never fails
		default:
		}
		return client, nil
	case <-l.done:
		return nil, fmt.Errorf("memnet: connection refused: server %d does not listen", id)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// DialAddress is Dial for what Address made of an id.
func (n *Network) DialAddress(ctx context.Context, text string) (net.Conn, error) {
	id, err := serverAt(text)
	if err != nil {
		return nil, err
	}
	return n.Dial(ctx, id)
}

// serverAt reads what Address wrote.
func serverAt(address string) (raft.ServerID, error) {
	number, ok := strings.CutPrefix(address, "memnet:")
	id, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil || id == 0 {
		return 0, fmt.Errorf("memnet: %q is no address of this network, which look like %q", address, Address(1))
	}
	return raft.ServerID(id), nil
}

// CheckAddress implements transport.AddressChecker: clients dial what Address makes, though servers find each other without it.
func (*Endpoint) CheckAddress(address string) error {
	_, err := serverAt(address)
	return err
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, net.ErrClosed
	default:
	}
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. Connections that were accepted stay; those that were not are closed.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.network.mu.Lock()
		if l.network.listeners[l.id] == l {
			delete(l.network.listeners, l.id)
		}
		l.network.mu.Unlock()
		close(l.done)
		for {
			select {
			case c := <-l.backlog:
				c.Close() //nolint:errcheck // it never fails
				continue
			default:
			}
			return
		}
	})
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return address(Address(l.id)) }
