package pebblelog

import (
	"errors"
	"fmt"
)

// Close writes what Compact noted, or an empty save, so that the last save with data is followed by a record and damage to it
// will be noticed (checkTail), and closes the database. It returns within Options.CloseTimeout: if the disk hangs
// until then, the error names the calls that have not come back, and their goroutines stay behind with what they hold.
// A second Close does nothing.
func (l *Log) Close() error {
	if l.closed.Swap(true) {
		return nil
	}
	return l.release()
}

func (l *Log) release() error {
	return l.fence.WithTimeout(l.dir, l.options.CloseTimeout, l.shut)
}

func (l *Log) shut() error {
	l.writer.Lock()
	defer l.writer.Unlock()
	whole := l.fence.Check() == nil
	if l.ready && whole {
		// An error is the fence's, which is asked below.
		_ = l.write(l.number.Load()+1, nil)
	}
	select {
	case <-l.fence.closing:
	default:
		close(l.fence.closing)
	}
	l.fs.spare.close()
	errs := []error{l.closePebble()}
	if l.witness != nil {
		errs = append(errs, l.witness.Close(whole))
	}
	errs = append(errs, l.lock.Close())
	if whole {
		errs = append(errs, l.fence.Check())
	}
	return l.fence.Closed(l.dir, errors.Join(errs...))
}

func (l *Log) closePebble() (err error) {
	if l.db == nil {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pebble panicked: %v", r)
		}
	}()
	if l.batch != nil {
		err = l.batch.Close()
	}
	closed := l.db.Close()
	if !l.fence.Down() {
		err = errors.Join(err, closed)
	}
	return err
}
