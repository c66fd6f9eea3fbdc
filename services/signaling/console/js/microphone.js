// Opens the microphone.

import { microphoneProblem } from "./problems.js";

const CONSTRAINTS = { audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } };

/** The caller's audio stream; throws a Problem with the reason if there is none. */
export async function openMicrophone() {
  try {
    return await navigator.mediaDevices.getUserMedia(CONSTRAINTS);
  } catch (error) {
    throw microphoneProblem(error);
  }
}

export function release(stream) {
  for (const track of stream?.getTracks() ?? []) {
    track.onended = null;
    track.stop();
  }
}
