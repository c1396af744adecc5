package obsctx

// Single is what a rule for single spans says of an ended span: it is to be
// kept, at a rate, even if its trace is not. Whether that is so is known when
// the trace's decision is final, later than the span's end.
type Single struct {
	Rate float64 // the rule's
	Max  float64 // the rule's limit of spans a second; 0: none

	// Allow asks the limit, which counts the span; nil if there is none. It is
	// asked once, if the trace is not kept.
	Allow func() bool
}

// SingleSpan is an ended span that such a rule has chosen.
type SingleSpan interface {
	Single() Single
}
