package rediscache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"errors"
	"fmt"
)

// A value begins with its form. What follows in formSealed is the id of the
// key, then nonce, ciphertext and tag of AES-256-GCM, whose additional data is
// the value's full key in Redis: a value moved to another key does not open.
const (
	formPlain  = 0
	formSealed = 1
)

const keyBytes = 32

// keyID finds the key that sealed a value; it says nothing of the key that
// could be of use.
type keyID [4]byte

func keyIDOf(key []byte) keyID {
	sum := sha256.Sum256(append([]byte("rediscache key id\x00"), key...))
	return keyID(sum[:4])
}

// sealer keeps values from other eyes, and others' values out. Without keys it
// leaves both as they are.
type sealer struct {
	keys []sealKey // the first seals, all open
}

type sealKey struct {
	id   keyID
	aead cipher.AEAD
}

func newSealer(o Options) (sealer, error) {
	switch {
	case o.Plaintext && (o.Key != nil || o.PreviousKey != nil):
		return sealer{}, errors.New("rediscache: Options.Plaintext and a key contradict each other")
	case o.Plaintext:
		return sealer{}, nil
	case o.Key == nil:
		return sealer{}, fmt.Errorf("rediscache: Options.Key is missing: want %d bytes from a secret manager (Options.Plaintext would do without)", keyBytes)
	}
	var s sealer
	if err := s.add("Key", o.Key); err != nil {
		return sealer{}, err
	}
	if o.PreviousKey != nil {
		if err := s.add("PreviousKey", o.PreviousKey); err != nil {
			return sealer{}, err
		}
	}
	return s, nil
}

func (s *sealer) add(name string, key []byte) error {
	if len(key) != keyBytes {
		return fmt.Errorf("rediscache: Options.%s has %d bytes, want %d", name, len(key), keyBytes)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return fmt.Errorf("rediscache: Options.%s: %w", name, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return fmt.Errorf("rediscache: Options.%s: %w", name, err)
	}
	s.keys = append(s.keys, sealKey{keyIDOf(key), aead})
	return nil
}

func (s sealer) seal(value []byte, name string) []byte {
	if len(s.keys) == 0 {
		return append([]byte{formPlain}, value...)
	}
	k := s.keys[0]
	b := make([]byte, 0, 1+len(k.id)+len(value)+k.aead.Overhead())
	b = append(b, formSealed)
	b = append(b, k.id[:]...)
	return k.aead.Seal(b, nil, value, []byte(name))
}

var (
	errForm = errors.New("rediscache: the value in Redis is not of our making")
	errKey  = errors.New("rediscache: the value in Redis was sealed with a key that is not ours")
	errOpen = errors.New("rediscache: the value in Redis does not open: altered, or moved from another key")
)

func (s sealer) open(b []byte, name string) ([]byte, error) {
	if len(s.keys) == 0 {
		if len(b) == 0 || b[0] != formPlain {
			return nil, errForm
		}
		return b[1:], nil
	}
	var id keyID
	if len(b) < 1+len(id) || b[0] != formSealed {
		return nil, errForm
	}
	copy(id[:], b[1:])
	for _, k := range s.keys {
		if k.id != id {
			continue
		}
		value, err := k.aead.Open(nil, nil, b[1+len(id):], []byte(name))
		if err != nil {
			return nil, errOpen
		}
		if value == nil {
			value = []byte{} // an empty value is one
		}
		return value, nil
	}
	return nil, errKey
}
