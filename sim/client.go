package sim

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/oarlock/oarlock/client"
	"github.com/oarlock/oarlock/internal/wire"
)

// simClient is one client: the core that ships, and what carries its actions out.
type simClient struct {
	w       *world
	number  int
	group   *groupOracle
	core    *client.Core
	conns   []*conn
	alarmAt time.Duration
	known   [keysMax]uint32 // what it believes each register holds
	told    uint64          // of so many changes it knows by its answers

	asleepUntil, stalledUntil time.Duration

	// site is the host beside which it stands: what does not reach that one does not reach it either. Zero: it is nowhere, and
	// nothing but faults of its own part it from any server. So it goes on asking a leader that the others have left.
	site int
}

// apart reports whether the network parts it from a server.
func (c *simClient) apart(from *host) bool {
	return c.site != 0 && c.site != from.number && (c.w.net.isCut(c.site, from.number) || c.w.net.isCut(from.number, c.site))
}

func (w *world) newClient(number int, p ClientPlan) *simClient {
	c := &simClient{w: w, number: number, group: w.oracle.groups[p.Group-1]}
	o := client.CoreOptions{
		Group: p.Group, Sessionless: p.Sessionless, Seed: w.plan.Seed<<8 + uint64(number), SilenceMax: time.Second, DialTimeout: time.Second,
		OutstandingMax: pick(w.people, 3, 100), OutstandingBytesMax: pick(w.people, 2000, 1<<20),
	}
	for _, h := range w.hosts {
		o.Addresses = append(o.Addresses, address(h.number))
	}
	if p.ReadAny {
		o.ReadFrom = client.ReadAny
	}
	if number%2 == 1 {
		c.site = number/2%w.plan.Servers + 1
	}
	core, err := client.NewCore(o)
	if err != nil {
		w.fail(checkAnswered, "client %d: %v", number, err)
		return c
	}
	c.core = core
	return c
}

// do has the client do something, once it is awake.
func (c *simClient) do(what func()) {
	if c.asleepUntil > c.w.now {
		c.w.at(c.asleepUntil, func() { c.do(what) })
		return
	}
	what()
}

// call begins a planned call.
func (c *simClient) call(p *Call) {
	w := c.w
	k := w.newOp(p.Kind, p.Key, c.group)
	k.client, k.own = c, c.told
	body := []byte{k.key}
	how := client.OpPropose
	switch p.Kind {
	case CallRead:
		how = client.OpQuery
	case CallLocal:
		how = client.OpQueryLocal
	case CallBarrier:
		how, body = client.OpBarrier, nil
	case CallStatus:
		how, body = client.OpStatus, nil
	case CallMembers:
		how, body = client.OpMembers, nil
	default:
		k.expect = c.known[k.key]
		body = command{commandKind(p.Kind), k.number, k.key, k.expect}.encode(p.Size)
		if p.Kind != CallAppend {
			c.known[k.key] = k.number
		}
	}
	body = append(body, p.Input...)
	w.fullNote("client %d calls %d: %s of key %d, %d bytes%s", c.number, k.number, k.kind, k.key, len(body), p.input())
	c.plainCall(k, p)
	if p.Kind == CallRead {
		k.consistency = p.Consistency
		k.handle = c.core.Start(w.now, how, body, k, p.Consistency)
	} else {
		k.handle = c.core.Start(w.now, how, body, k)
	}
	c.act()
	if p.Cancel > 0 {
		w.after(p.Cancel, func() {
			c.do(func() {
				if !k.ended {
					w.saw(sawCancelled)
				}
				c.core.Cancel(w.now, k.handle, context.DeadlineExceeded)
				c.act()
			})
		})
	}
}

// act carries out what the core asks for.
func (c *simClient) act() {
	w := c.w
	a := c.core.Actions()
	for _, id := range a.Hangups {
		if conn := c.find(id); conn != nil {
			conn.open = false
		}
	}
	for _, d := range a.Dials {
		c.dial(d)
	}
	for _, id := range a.Writable {
		if conn := c.find(id); conn != nil {
			conn.write(c.core.TakeOutput(id, nil))
		}
	}
	for _, d := range a.Dones {
		d.Tag.(*op).answer(d.Result, d.Err)
	}
	if at := c.core.Deadline(); at != client.Never && (c.alarmAt == 0 || at < c.alarmAt) {
		c.alarmAt = at
		w.at(at, func() {
			if c.alarmAt == at {
				c.do(func() {
					c.alarmAt = 0
					c.core.Tick(w.now)
					c.act()
				})
			}
		})
	}
}

func (c *simClient) find(id client.ConnID) *conn {
	for _, k := range c.conns {
		if k.id == id {
			return k
		}
	}
	return nil
}

func (c *simClient) dial(d client.Dial) {
	w := c.w
	var server int
	if _, err := fmt.Sscanf(d.Address, "s%d", &server); err != nil || server < 1 || server > len(w.hosts) {
		w.fail(checkAnswered, "client %d dials %q", c.number, d.Address)
		return
	}
	h := w.hosts[server-1]
	for g, heir := int(c.group.group-1), h.heir; heir != nil; heir = heir.heir {
		if heir.up && (!h.up || !w.isMember(g, h) && w.isMember(g, heir)) {
			h = heir // which the operator has given the address
		}
	}
	w.fullNote("client %d dials %s: server %v", c.number, d.Address, h)
	k := &conn{w: w, client: c, id: d.Conn, host: h}
	k.reader = wire.NewClientReader(k, w.plan.CommandBytesMax+128, true)
	kept := c.conns[:0]
	for _, other := range c.conns {
		if other.open {
			kept = append(kept, other)
		}
	}
	c.conns = append(kept, k)
	k.open = true
	w.at(max(w.now+w.net.delay(), c.stalledUntil), func() {
		c.do(func() {
			switch {
			case !k.open:
				return
			case !k.host.up || c.apart(k.host):
				k.open = false
				c.core.Disconnected(w.now, k.id, errReset)
			default:
				k.life = k.host.life
				k.host.conns = append(k.host.conns, k)
				c.core.Connected(w.now, k.id)
			}
			c.act()
		})
	})
}

func (c *simClient) received(k *conn, raw []byte) {
	r, err := wire.ParseClientResponse(bytes.Clone(raw))
	if err != nil {
		c.w.fail(checkAnswered, "client %d gets what is no response: %v", c.number, err)
		return
	}
	c.core.Received(c.w.now, k.id, &r)
	c.act()
}
