package seglog

// judge looks whether the end that was found is where the log once ended. If it is not, the store opens all the same, for every group
// to be told that it has lost what it had acknowledged.
func (r *recovery) judge() error {
	l := r.log
	lost, err := l.witness.Judge(l.head().path, r.number)
	if err != nil {
		l.fence.Fail("write", l.witness.Path(), err)
		return err
	}
	if lost != nil {
		l.lost = true
		l.options.Logger.Error("the log has lost its end", "error", lost)
		seen, _ := l.witness.Newest()
		r.number = max(r.number, seen)
	}
	return nil
}
