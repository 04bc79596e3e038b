import type { Confidence, Severity } from '../store/compromise/incidents.ts';

/** A verdict on an observation. */
export type Finding = {
  severity: Severity;
  /** `confirmed` has the credential revoked before anyone is asked; `suspected` leaves that to a person. */
  confidence: Confidence;
  /** For a person, up to 500 characters: what was seen and why it matters. */
  explanation: string;
};
