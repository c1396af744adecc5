package ddagent

import "net/http"

// maxStrikes bounds how many payloads in a row are taken apart: enough to find
// one span among a thousand in one of ten thousand chunks. An agent that
// rejects everything costs as many requests more, once.
const maxStrikes = 30

// suspects are the chunks of a payload that an agent could not decode. We know
// of no span for which that is so; should there be one, it alone is dropped, and
// not the thousands it was sent with. They stand at the head of the queue.
type suspects struct {
	strikes int // payloads rejected since the last that was not
	n       int // chunks under suspicion
	most    int // of them, in one payload
}

// room is how many chunks the next payload may have.
func (s *suspects) room(n int) bool { return s.n == 0 || n < min(s.n, s.most) }

// cleared notes that n chunks have been delivered or dropped.
func (s *suspects) cleared(n int, delivered bool) {
	if delivered {
		s.strikes = 0
	}
	if s.n = max(s.n-n, 0); s.n > 0 && delivered {
		s.most *= 2 // the others are likely to be good
	}
}

// narrow puts back a payload that was rejected, to be sent in parts. It reports
// false if it is to be dropped. The caller holds the lock.
func (s *sender) narrow(a answer, batch []chunk) bool {
	if a.status != http.StatusBadRequest {
		return false
	}
	if s.strikes++; s.strikes > maxStrikes {
		s.n = 0 // it is not the spans
		return false
	}
	if s.n == 0 {
		s.n = len(batch)
	}
	if len(batch) > 1 {
		s.most = len(batch) / 2
		s.queue.unpop(batch)
		return true
	}
	first, second, ok := batch[0].halve()
	if !ok {
		return false
	}
	s.most = 1
	s.n++
	s.used.Add(first.cost() + second.cost() - batch[0].cost())
	s.queue.unpop([]chunk{first, second})
	return true
}
