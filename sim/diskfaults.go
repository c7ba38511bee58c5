package sim

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
)

// diskFaults is what is wrong with a disk, or will be.
type diskFaults struct {
	fuse  int   // after so many more calls that change something the power goes
	armed int   // what fuse becomes when the log begins another segment; 0: nothing
	image *disk // what was left when it went; nil: it is on
	cut   *rand.Rand
	fails int  // the n-th call that changes something from now on fails, and every one after it unless once; 0: none
	once  bool // only that call fails
	doom  int  // what fuse becomes when it has failed; 0: nothing

	spoil      int    // the n-th sync of a file of a kind fails, once; 0: none
	spoilsKind string // how its name ends
	spoilt     bool   // it has failed: should a file get its last name with what that gave up, the power goes soon
	reads      int    // the n-th read from now on fails, once; 0: none
	full       bool   // nothing grows and nothing is made
	hurt       bool   // a call that changes something has failed

	// A disk that lies reports syncs that it does not do; lied counts them. What it has not made durable goes with the power, if
	// forgive does not say that nobody could do without it: then it is made durable at the last moment.
	lies    bool
	lied    int
	forgive func() bool
	forgot  bool // the power went since, and took it along

	// The n-th write from now on is reported and never comes to pass or, if far, comes to pass somewhere else, in its file or,
	// if abroad, in another one. astray counts those that did; overlaid says that one of them has hit a segment of the log, and
	// strange that it was another file's.
	stray             int
	far, abroad       bool
	astray            int
	overlaid, strange bool
}

// sectorBytes is the piece that a disk writes whole or not at all.
const sectorBytes = 512

var (
	errDisk  = errors.New("sim: the disk failed")
	errFull  = fmt.Errorf("%w: %w", errDisk, syscall.ENOSPC)
	errPower = errors.New("sim: the power is gone")
)

// change counts a call that changes something and says whether it still comes to pass.
func (d *disk) change() error {
	if d.image != nil {
		return errPower
	}
	d.calls++
	if d.fuse > 0 {
		if d.fuse--; d.fuse == 0 {
			d.image = d.crash(d.cut)
			return errPower
		}
	}
	if d.fails > 0 {
		if d.fails > 1 {
			d.fails--
			return nil
		}
		d.hurt = true
		if d.once {
			d.fails, d.once = 0, false
			d.fuse, d.doom = max(d.fuse, d.doom), 0
		}
		return errDisk
	}
	return nil
}

// failAt has the n-th call from now on that changes something fail, and every one after it unless once.
func (d *disk) failAt(n int, once bool) { d.fails, d.once, d.doom = n, once, 0 }

// made tells that a file was made, or got a name.
func (d *disk) made(name string) {
	if d.armed > 0 && isSegment(name) {
		d.fuse, d.armed = d.armed, 0
	}
}

// look counts a call that only reads and says whether it succeeds.
func (d *disk) look() error {
	if d.image != nil {
		return errPower
	}
	d.looks++
	if d.reads > 0 {
		if d.reads--; d.reads == 0 {
			return errDisk
		}
	}
	return nil
}

// goesAstray reports whether a write is one that is lost, and puts it elsewhere if it is one that is misdirected.
func (f *file) goesAstray(p []byte, at int64) bool {
	d := f.d
	if d.stray == 0 {
		return false
	}
	if d.stray--; d.stray > 0 {
		return false
	}
	d.astray++
	sectors := len(f.n.data) / sectorBytes
	switch {
	case !d.far || d.abroad && d.misdirect(f.n, p):
	case sectors > 1:
		other := (int(at)/sectorBytes + 1 + d.calls%(sectors-1)) % sectors
		room := len(f.n.data) - other*sectorBytes
		f.write(p[:min(len(p), room)], int64(other*sectorBytes))
		d.overlaid = d.overlaid || isSegment(f.name)
	}
	return true
}

// misdirect puts a write into another file than its own, from a sector's beginning on, and reports whether there is one. It is durable
// there: nobody who syncs that file knows of it.
func (d *disk) misdirect(own *node, p []byte) bool {
	var others []string
	for _, name := range d.files() {
		if n, err := d.find(name); err == nil && n != own && len(n.data) > 0 {
			others = append(others, name)
		}
	}
	if len(others) == 0 {
		return false
	}
	name := others[d.cut.IntN(len(others))]
	n, err := d.find(name)
	if err != nil {
		return false
	}
	at := d.cut.IntN((len(n.data)+sectorBytes-1)/sectorBytes) * sectorBytes
	copy(n.data[at:], p)
	if at < len(n.synced) {
		copy(n.synced[at:], p)
	}
	d.strange = true
	d.overlaid = d.overlaid || isSegment(name)
	return true
}

func isSegment(name string) bool { return strings.HasSuffix(name, ".segment") }

// mend ends what was to fail; what the disk has lost by then stays lost.
func (d *disk) mend() {
	d.failAt(0, false)
	d.fuse, d.armed, d.reads, d.spoil, d.stray, d.full, d.lies, d.spoilt = 0, 0, 0, 0, 0, false, false, false
}

// crash returns what a power cut leaves.
func (d *disk) crash(r *rand.Rand) *disk {
	if d.image != nil {
		return d.image
	}
	lost := d.lied > 0
	if lost && d.forgive() {
		lost = false
		d.root.confess()
	}
	keep := [...]float64{0, 1, 0.5, 0.1, 0.9}[r.IntN(5)]
	return &disk{root: d.root.crash(r, keep), diskFaults: diskFaults{full: d.full, forgot: lost}}
}

// confess makes everything durable after all.
func (n *node) confess() {
	n.sync()
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		n.children[name].confess()
	}
}

func (n *node) crash(r *rand.Rand, keep float64) *node {
	c := &node{dir: n.dir}
	if !n.dir {
		c.data = slices.Clone(n.synced)
		for at := n.from / sectorBytes * sectorBytes; at < n.to; at += sectorBytes {
			end := min(at+sectorBytes, len(n.data))
			same := end <= len(n.synced) && string(n.data[at:end]) == string(n.synced[at:end])
			if same || n.lost[at/sectorBytes] || !chance(r, keep) {
				continue
			}
			if grow := end - len(c.data); grow > 0 {
				c.data = append(c.data, make([]byte, grow)...)
			}
			copy(c.data[at:end], n.data[at:end])
		}
		c.synced = slices.Clone(c.data)
		return c
	}
	c.children = make(map[string]*node)
	names := maps.Clone(n.children)
	maps.Copy(names, n.durable)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		now, was := n.children[name], n.durable[name]
		kept := was
		if now != was && chance(r, keep) {
			kept = now
		}
		if kept != nil {
			c.children[name] = kept.crash(r, keep)
		}
	}
	c.durable = maps.Clone(c.children)
	return c
}

// copyOf returns a file or a directory as it is now, with all that was written and not synced.
func (n *node) copyOf() *node {
	c := &node{dir: n.dir, data: slices.Clone(n.data), synced: slices.Clone(n.data)}
	if n.dir {
		c.children = make(map[string]*node)
		for _, name := range slices.Sorted(maps.Keys(n.children)) {
			c.children[name] = n.children[name].copyOf()
		}
		c.durable = maps.Clone(c.children)
	}
	return c
}

// replace puts a file or a directory in the place of another, durably.
func (d *disk) replace(dir, name string, n *node) {
	if parent, err := d.find(dir); err == nil {
		parent.children[name], parent.durable[name] = n, n
	}
}

// flip changes one bit of a file for good.
func (d *disk) flip(name string, r *rand.Rand) bool {
	n, err := d.find(name)
	if err != nil || len(n.data) == 0 {
		return false
	}
	bit := r.IntN(8 * len(n.data))
	n.data[bit/8] ^= 1 << (bit % 8)
	if bit/8 < len(n.synced) {
		n.synced[bit/8] ^= 1 << (bit % 8)
	}
	return true
}
