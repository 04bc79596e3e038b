/** The demo, step by step. */
import type { Step } from './stage/contract.ts';
import { connect, contain, reconnect } from './steps/consent.ts';
import { tamper, verify } from './steps/log.ts';
import { refresh } from './steps/refresh.ts';
import { rotate } from './steps/rotate.ts';
import { deliver, subscribe } from './steps/tell.ts';

export const STEPS: readonly Step[] = [
  { title: 'Someone subscribes to what happens', run: subscribe },
  { title: 'A person connects an account', run: connect },
  { title: 'The token is refreshed', run: refresh },
  { title: 'A client secret is rotated', run: rotate },
  { title: 'The token leaks, and is contained', run: contain },
  { title: 'The person consents again', run: reconnect },
  { title: 'The subscriber was told, signed', run: deliver },
  { title: 'The log is verified', run: verify },
  { title: 'An entry is edited in MongoDB, and the verifier names it', run: tamper },
];
