package logging

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/kumihimo/kumihimo/internal/fault"
)

// errorBudget bounds the errors looked at in one chain, which can branch, and
// return to itself.
const errorBudget = 32

// causes returns what err's chain holds beneath it.
func (l *line) causes(err error) []fault.Cause {
	if l.textOf == nil {
		l.textOf = l.errorText // once: a method value is an allocation
	}
	return fault.Causes(err, l.textOf)
}

// errorText is err's text, with the URLs of its chain's url.Errors less their
// secrets: net/http puts a request's whole query there.
func (l *line) errorText(err error) string {
	text := errorText(err)
	if strings.IndexByte(text, '/') < 0 || !strings.Contains(text, "://") {
		return text
	}
	budget := errorBudget
	l.eachURL(err, &budget, func(raw string) {
		clean := l.red.URL(raw)
		if clean == raw {
			return
		}
		text = strings.ReplaceAll(text, raw, clean)
		if quoted := strconv.Quote(raw); quoted[1:len(quoted)-1] != raw {
			text = strings.ReplaceAll(text, quoted[1:len(quoted)-1], clean)
		}
	})
	return l.red.Text(text)
}

func (l *line) eachURL(err error, budget *int, f func(string)) {
	if *budget--; err == nil || *budget < 0 {
		return
	}
	if e, ok := err.(*url.Error); ok && e != nil && e.URL != "" { //nolint:errorlint // each link of the chain is looked at
		f(e.URL)
	}
	for _, c := range fault.Unwrap(err) {
		l.eachURL(c, budget, f)
	}
}

// errorChain returns err's text with what it leaves out of its chain: a cause
// that the text does not quote follows an arrow, joined errors stand on one
// line in brackets.
func (l *line) errorChain(err error) string {
	budget := errorBudget
	return l.chain(err, &budget)
}

func (l *line) chain(err error, budget *int) string {
	text := l.errorText(err)
	if *budget--; *budget <= 0 {
		return text
	}
	var texts, chains []string
	for _, c := range fault.Unwrap(err) {
		if c != nil && *budget > 0 {
			texts = append(texts, l.errorText(c))
			chains = append(chains, l.chain(c, budget))
		}
	}
	if len(texts) > 1 && text == strings.Join(texts, "\n") {
		return "[" + strings.Join(chains, "; ") + "]"
	}
	for i, t := range texts {
		switch {
		case t == "" || t == chains[i] && strings.Contains(text, t):
		case strings.Contains(text, t):
			text = strings.Replace(text, t, chains[i], 1)
		default:
			text += " ← " + chains[i]
		}
	}
	return text
}
