import { describe, expect, test } from 'vitest';
import { makeBoundedMap } from '../../src/shared/platform/bounded-map.ts';

describe('a bounded map', () => {
  test('holds what was put in, until it is deleted', () => {
    const map = makeBoundedMap<string, number>(2);
    map.set('a', 1);
    expect(map.get('a')).toBe(1);
    expect(map.get('b')).toBeUndefined();
    expect(map.delete('a')).toBe(true);
    expect(map.delete('a')).toBe(false);
    expect(map.get('a')).toBeUndefined();
  });

  test('never holds more than its bound: the oldest goes, and is handed to the caller', () => {
    const map = makeBoundedMap<number, string>(3);
    const gone = Array.from({ length: 100 }, (_, key) => {
      const evicted = map.set(key, `value ${key}`);
      expect(map.size).toBeLessThanOrEqual(3);
      return evicted;
    });
    expect(gone).toEqual(Array.from({ length: 100 }, (_, key) => (key < 3 ? undefined : `value ${key - 3}`)));
    expect([...map.values()]).toEqual(['value 97', 'value 98', 'value 99']);
  });

  test('a key that is set again costs no other its place, and becomes the youngest', () => {
    const map = makeBoundedMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    expect(map.set('a', 3)).toBeUndefined();
    expect(map.size).toBe(2);
    expect(map.set('c', 4)).toBe(2);
    expect([...map.values()]).toEqual([3, 4]);
  });

  test('to read a value does not make it younger', () => {
    const map = makeBoundedMap<string, number>(2);
    map.set('a', 1);
    map.set('b', 2);
    map.get('a');
    expect(map.set('c', 3)).toBe(1);
  });
});
