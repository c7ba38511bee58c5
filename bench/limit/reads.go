package limit

// Query is a linearizable read: one round of confirmation is in flight at a time, and all that arrive meanwhile share the
// next. With one of the backups that answers, the primary is a majority.
func (c *Cluster) Query() error {
	r := c.requests.Get().(*request)
	c.reading.Lock()
	if err := c.ended; err != nil {
		c.reading.Unlock()
		return err
	}
	c.reads = append(c.reads, r)
	err := c.startRound()
	c.reading.Unlock()
	if err != nil {
		c.stop(err)
	}
	return c.wait(r)
}

// startRound asks the backups if none is being asked and somebody waits. What is committed is applied already, so that
// the answer to a confirmed read needs no more waiting.
func (c *Cluster) startRound() error {
	if c.inFlight || len(c.reads) == 0 {
		return nil
	}
	c.round++
	c.inFlight = true
	c.reads, c.confirmed = c.confirmed[:0], c.reads
	c.frame = append(c.frame[:0], make([]byte, frameHeaderBytes)...)
	sealFrame(c.frame, kindConfirm, c.round, 0)
	for _, p := range c.peers {
		if err := p.send(c.frame); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) roundConfirmed(round uint64) error {
	c.reading.Lock()
	defer c.reading.Unlock()
	if !c.inFlight || round != c.round {
		return nil
	}
	c.inFlight = false
	for _, r := range c.confirmed {
		r.slot <- nil
	}
	return c.startRound()
}
