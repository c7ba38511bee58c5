package limit

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
)

// Options choose the kind of limit.
type Options struct {
	// Pebble keeps each log in a Pebble database instead of a file.
	Pebble bool
	// RetainBytes is how much of each log is kept: 32 MiB if zero.
	RetainBytes int64
}

// Cluster is a primary and its two backups. Propose and Query may be called from any goroutine.
type Cluster struct {
	journals [3]journal // the primary's first
	peers    [2]*peer
	backups  [2]*backup
	running  sync.WaitGroup
	syncs    atomic.Uint64
	requests sync.Pool
	wake     chan struct{} // one slot: the queue is not empty any more, or the cluster has stopped

	queueing sync.Mutex
	queue    []*request
	spare    []*request // becomes the queue when the queue is taken
	stopped  error      // why nothing is taken any more

	deciding sync.Mutex
	sent     []*batch  // not yet at two members, oldest first
	first    uint64    // number of sent[0]
	durable  [3]uint64 // newest batch that each member has
	machine  machine
	free     []*batch
	decided  error         // why nothing is decided any more
	commit   atomic.Uint64 // newest batch that two have; it is applied

	reading   sync.Mutex
	reads     []*request // wait for the next round
	confirmed []*request // wait for the one in flight
	round     uint64
	inFlight  bool
	frame     []byte
	ended     error
}

// peer is the primary's end of a connection to a backup.
type peer struct {
	sending sync.Mutex
	conn    net.Conn
}

func (p *peer) send(frame []byte) error {
	p.sending.Lock()
	defer p.sending.Unlock()
	_, err := p.conn.Write(frame)
	return err
}

// request is a pooled proposal or read with its wake-up.
type request struct {
	command []byte
	slot    chan error
}

// batch is what one turn of the loop made of the queue. It is used again when it was applied and the primary has saved it.
type batch struct {
	frame    []byte
	requests []*request
	users    int
}

// Start opens the three members below dir.
func Start(dir string, options Options) (_ *Cluster, err error) {
	if options.RetainBytes == 0 {
		options.RetainBytes = 32 << 20
	}
	c := &Cluster{wake: make(chan struct{}, 1), first: 1}
	c.requests.New = func() any { return &request{slot: make(chan error, 1)} }
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	for i := range c.journals {
		if c.journals[i], err = openJournal(filepath.Join(dir, fmt.Sprint("member-", i)), options); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	defer listener.Close()
	for i := range c.peers {
		if err := c.connect(i, listener); err != nil {
			return nil, fmt.Errorf("limit: %w", err)
		}
	}
	for i := range c.peers {
		c.running.Go(func() { c.stop(c.backups[i].run()) })
		c.running.Go(func() { c.stop(c.listen(i)) })
	}
	c.running.Go(func() { c.stop(c.loop()) })
	return c, nil
}

func openJournal(dir string, options Options) (journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("limit: %w", err)
	}
	if options.Pebble {
		return openTree(dir, options.RetainBytes)
	}
	return openRing(dir, options.RetainBytes)
}

func (c *Cluster) connect(i int, listener net.Listener) error {
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	c.peers[i] = &peer{conn: dialled}
	accepted, err := listener.Accept()
	if err != nil {
		return err
	}
	c.backups[i] = &backup{conn: accepted, journal: c.journals[i+1], syncs: &c.syncs}
	return nil
}

// Syncs returns how many syncs the three logs have made together.
func (c *Cluster) Syncs() uint64 { return c.syncs.Load() }

// Propose replicates a command and returns when two members have it and the primary has applied it.
func (c *Cluster) Propose(command []byte) error {
	r := c.requests.Get().(*request)
	r.command = command
	c.queueing.Lock()
	if err := c.stopped; err != nil {
		c.queueing.Unlock()
		return err
	}
	c.queue = append(c.queue, r)
	first := len(c.queue) == 1
	c.queueing.Unlock()
	if first {
		poke(c.wake)
	}
	return c.wait(r)
}

func (c *Cluster) wait(r *request) error {
	err := <-r.slot
	r.command = nil
	c.requests.Put(r)
	return err
}

func poke(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

// loop makes a batch of all that waits, sends it, and appends it here while the backups do the same.
func (c *Cluster) loop() error {
	var frames [1][]byte
	for number := uint64(1); ; number++ {
		b := c.take(number)
		if b == nil {
			return nil
		}
		for _, p := range c.peers {
			if err := p.send(b.frame); err != nil {
				return err
			}
		}
		frames[0] = b.frame
		c.syncs.Add(1)
		if err := c.journals[0].append(number, frames[:]); err != nil {
			return err
		}
		c.saved(0, number, b)
	}
}

// take waits for proposals and makes a batch of all of them, or returns nil when the cluster has stopped.
func (c *Cluster) take(number uint64) *batch {
	for {
		// The clients that the last batch woke are about to propose again. One yield lets them, and halves the syncs for
		// each write at 16 clients.
		runtime.Gosched()
		c.queueing.Lock()
		taken, stopped := c.queue, c.stopped != nil
		if len(taken) > 0 && !stopped {
			n := fitting(taken)
			c.queue, c.spare = append(c.spare[:0], taken[n:]...), nil
			taken = taken[:n]
		}
		c.queueing.Unlock()
		switch {
		case stopped:
			return nil
		case len(taken) == 0:
			<-c.wake
			continue
		}
		c.deciding.Lock()
		defer c.deciding.Unlock()
		if c.decided != nil {
			for _, r := range taken {
				r.slot <- c.decided
			}
			return nil
		}
		b := &batch{}
		if n := len(c.free); n > 0 {
			b, c.free = c.free[n-1], c.free[:n-1]
		}
		b.users = 2
		b.requests = append(b.requests[:0], taken...)
		b.frame = append(b.frame[:0], make([]byte, frameHeaderBytes)...)
		for _, r := range taken {
			b.frame = appendEntry(b.frame, r.command)
		}
		sealFrame(b.frame, kindBatch, number, c.commit.Load())
		c.sent = append(c.sent, b)
		c.queueing.Lock()
		c.spare = taken[:0]
		c.queueing.Unlock()
		return b
	}
}

// batchBytesMax ends a batch, so that of a long queue of large commands one part is sent while another is written.
const batchBytesMax = 1 << 20

// fitting returns how many of the requests go into one batch: at least one.
func fitting(requests []*request) int {
	bytes := 0
	for i, r := range requests {
		if bytes += 4 + len(r.command); bytes > batchBytesMax && i > 0 {
			return i
		}
	}
	return len(requests)
}

// saved notes that a member has everything through a batch, applies what two have, and wakes those who wait for it. own is the
// primary's batch of that number, nil for a backup's answer.
func (c *Cluster) saved(member int, number uint64, own *batch) {
	c.deciding.Lock()
	defer c.deciding.Unlock()
	if own != nil {
		c.release(own)
	}
	c.durable[member] = number
	d := c.durable
	commit := max(min(d[0], d[1]), min(d[0], d[2]), min(d[1], d[2]))
	n := 0
	for ; n < len(c.sent) && c.first+uint64(n) <= commit; n++ {
		b := c.sent[n]
		err := c.machine.apply(b.frame)
		for _, r := range b.requests {
			r.slot <- err
		}
		c.release(b)
	}
	if n > 0 {
		c.first += uint64(n)
		c.sent = append(c.sent[:0], c.sent[n:]...)
		c.commit.Store(commit)
	}
}

func (c *Cluster) release(b *batch) {
	if b.users--; b.users == 0 {
		c.free = append(c.free, b)
	}
}

// listen takes the answers of a backup.
func (c *Cluster) listen(i int) error {
	in := bufio.NewReader(c.peers[i].conn)
	var answer [answerBytes]byte
	for {
		if _, err := io.ReadFull(in, answer[:]); err != nil {
			return err
		}
		number := binary.LittleEndian.Uint64(answer[1:])
		if answer[0] == kindConfirm {
			if err := c.roundConfirmed(number); err != nil {
				return err
			}
			continue
		}
		c.saved(i+1, number, nil)
	}
}

// stop ends everything with the first reason and answers all who wait.
func (c *Cluster) stop(why error) {
	c.queueing.Lock()
	if c.stopped != nil {
		c.queueing.Unlock()
		return
	}
	if why == nil {
		why = errClosed
	}
	c.stopped = why
	waiting := c.queue
	c.queue = nil
	c.queueing.Unlock()
	poke(c.wake)
	for i, p := range c.peers {
		if p != nil {
			p.conn.Close()
		}
		if c.backups[i] != nil {
			c.backups[i].conn.Close()
		}
	}
	c.deciding.Lock()
	for _, b := range c.sent {
		waiting = append(waiting, b.requests...)
	}
	c.sent, c.decided = nil, why
	c.deciding.Unlock()
	c.reading.Lock()
	waiting = append(waiting, c.reads...)
	if c.inFlight {
		waiting = append(waiting, c.confirmed...)
	}
	c.reads, c.confirmed, c.inFlight, c.ended = nil, nil, false, why
	c.reading.Unlock()
	for _, r := range waiting {
		r.slot <- why
	}
}

var errClosed = errors.New("limit: closed")

// Close ends the cluster. An error is the reason why it had stopped before.
func (c *Cluster) Close() error {
	c.stop(errClosed)
	c.running.Wait()
	err := c.stopped
	if errors.Is(err, errClosed) {
		err = nil
	}
	for _, j := range c.journals {
		if j != nil {
			err = errors.Join(err, j.close())
		}
	}
	return err
}
