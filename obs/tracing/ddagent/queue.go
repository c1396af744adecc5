package ddagent

import "time"

// classes are the sampling priorities -1, 0, 1 and 2.
const classes = 4

// queue holds chunks in the order of their arrival, in one ring for each
// priority, so that the least wanted can be found when room is short. Its
// owner locks.
type queue struct {
	rings [classes]ring
	bytes int64 // cost of what is queued
	size  int   // estimated bytes of the payloads it makes
	spans int64
}

func (q *queue) empty() bool { return q.spans == 0 }

func (q *queue) count(c *chunk, sign int) {
	q.bytes += int64(sign) * c.cost()
	q.size += sign * c.size()
	q.spans += int64(sign * c.spans)
}

// push adds a chunk that has just arrived.
func (q *queue) push(c chunk) {
	q.count(&c, 1)
	q.rings[c.class()].pushBack(c)
}

// unpop puts back chunks in the order pop returned them.
func (q *queue) unpop(chunks []chunk) {
	for i := len(chunks) - 1; i >= 0; i-- {
		q.count(&chunks[i], 1)
		q.rings[chunks[i].class()].pushFront(chunks[i])
	}
}

// oldest returns the chunk that has waited longest, or nil.
func (q *queue) oldest() *chunk {
	var first *chunk
	for i := range q.rings {
		if c := q.rings[i].front(); c != nil && (first == nil || c.seq < first.seq) {
			first = c
		}
	}
	return first
}

// pop removes and returns what oldest returns.
func (q *queue) pop() chunk {
	c := q.rings[q.oldest().class()].popFront()
	q.count(&c, -1)
	return c
}

// evict removes the oldest chunk of the lowest priority there is.
func (q *queue) evict() (c chunk, ok bool) {
	for i := range q.rings {
		if q.rings[i].front() != nil {
			c = q.rings[i].popFront()
			q.count(&c, -1)
			return c, true
		}
	}
	return c, false
}

// expire removes what arrived before t, and returns how many spans that were
// and what they cost.
func (q *queue) expire(t time.Time) (spans, bytes int64) {
	for c := q.oldest(); c != nil && c.at.Before(t); c = q.oldest() {
		gone := q.pop()
		spans += int64(gone.spans)
		bytes += gone.cost()
	}
	return spans, bytes
}

// ring is a double-ended queue of chunks.
type ring struct {
	buf  []chunk // its length is a power of two
	head int
	n    int
}

// idleRing is the number of places an empty ring may keep: 350 KB, so that a busy
// service's does not grow anew for each payload.
const idleRing = 2048

func (r *ring) front() *chunk {
	if r.n == 0 {
		return nil
	}
	return &r.buf[r.head]
}

func (r *ring) grow() {
	if r.n < len(r.buf) {
		return
	}
	buf := make([]chunk, max(8, 2*len(r.buf)))
	for i := range r.n {
		buf[i] = r.buf[(r.head+i)&(len(r.buf)-1)]
	}
	r.buf, r.head = buf, 0
}

func (r *ring) pushBack(c chunk) {
	r.grow()
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = c
	r.n++
}

func (r *ring) pushFront(c chunk) {
	r.grow()
	r.head = (r.head - 1) & (len(r.buf) - 1)
	r.buf[r.head] = c
	r.n++
}

func (r *ring) popFront() chunk {
	c := r.buf[r.head]
	r.buf[r.head] = chunk{}
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	if r.n == 0 && len(r.buf) > idleRing {
		r.buf, r.head = nil, 0
	}
	return c
}
